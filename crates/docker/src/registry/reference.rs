//! Names of images, as a daemon reads them (github.com/distribution/reference, "normalize").

use crate::query::bounded;

use super::target::{is_digest, is_tag};

/// Longest name that is read.
const MAX_NAME: usize = 512;
/// What a name without a registry is asked of.
const DEFAULT_REGISTRY: &str = "docker.io";

/// A name, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    /// `host:port`; 443 where the name says none.
    pub(crate) registry: String,
    /// Repository within it.
    pub(crate) repository: String,
    /// Tag or digest, if the name has one; a digest wins.
    pub(crate) reference: Option<String>,
}

impl Reference {
    /// `None` where there is no name, or it has blanks or control characters.
    pub(crate) fn read(image: &str) -> Option<Self> {
        let image = bounded(image.trim(), MAX_NAME);
        if image.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return None;
        }
        let (name, digest) = match image.split_once('@') {
            Some((name, digest)) => (name, is_digest(digest).then_some(digest)),
            None => (image.as_str(), None),
        };
        let last = name.rfind('/').map_or(0, |slash| slash.saturating_add(1));
        let colon =
            name.get(last..).and_then(|rest| rest.find(':')).map(|at| last.saturating_add(at));
        let (name, tag) = match colon {
            Some(at) => (name.get(..at)?, name.get(at.saturating_add(1)..)),
            None => (name, None),
        };
        let (host, path) = match name.split_once('/') {
            Some((host, path)) if is_host(host) => (host, path.to_owned()),
            _ => (DEFAULT_REGISTRY, name.to_owned()),
        };
        let host = if host == "index.docker.io" { DEFAULT_REGISTRY } else { host };
        let library = host == DEFAULT_REGISTRY && !path.contains('/');
        let repository = if library { format!("library/{path}") } else { path };
        if repository.is_empty() || repository.ends_with('/') {
            return None;
        }
        let reference = digest.or_else(|| tag.filter(|tag| is_tag(tag))).map(str::to_owned);
        Some(Self { registry: host_port(host, 443)?, repository, reference })
    }
}

/// The first component is a registry if it could be no part of a repository.
fn is_host(text: &str) -> bool {
    text.contains(['.', ':']) || text == "localhost" || text.bytes().any(|b| b.is_ascii_uppercase())
}

/// `host:port` in lower case, with `default_port` where there is none; IPv6 in brackets.
pub(crate) fn host_port(authority: &str, default_port: u16) -> Option<String> {
    let authority = bounded(authority, 300).to_ascii_lowercase();
    if authority.is_empty() || authority.contains(char::is_whitespace) {
        return None;
    }
    if let Ok(v6) = authority.parse::<std::net::Ipv6Addr>() {
        return Some(format!("[{v6}]:{default_port}"));
    }
    let after_brackets = authority.rfind(']').map_or(0, |at| at.saturating_add(1));
    let has_port = authority.get(after_brackets..).is_some_and(|rest| rest.contains(':'));
    Some(if has_port { authority } else { format!("{authority}:{default_port}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(image: &str) -> String {
        Reference::read(image).map_or_else(String::new, |r| {
            format!("{} {} {}", r.registry, r.repository, r.reference.unwrap_or_default())
        })
    }

    #[test]
    fn names_are_taken_apart_as_docker_does() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (image, parts) in [
            ("alpine", "docker.io:443 library/alpine ".to_owned()),
            ("alpine:3.18", "docker.io:443 library/alpine 3.18".to_owned()),
            ("team/app:1", "docker.io:443 team/app 1".to_owned()),
            ("index.docker.io/team/app", "docker.io:443 team/app ".to_owned()),
            ("203.0.113.100:5000/k8s/pause:3.9", "203.0.113.100:5000 k8s/pause 3.9".to_owned()),
            ("localhost/x", "localhost:443 x ".to_owned()),
            ("[2001:db8::1]:5000/x:1", "[2001:db8::1]:5000 x 1".to_owned()),
        ] {
            assert_eq!(read(image), parts, "{image}");
        }
        assert_eq!(read(&format!("ghcr.io/a:1@{digest}")), format!("ghcr.io:443 a {digest}"));
    }

    #[test]
    fn no_name_is_none() {
        for image in ["", "a b", "reg.example/", "@", ":1", "a/\u{7}"] {
            assert_eq!(read(image), "", "{image:?}");
        }
    }

    #[test]
    fn ports_are_said() {
        for (authority, port) in [
            ("Reg.Example", "reg.example:80"),
            ("reg.example:5000", "reg.example:5000"),
            ("2001:db8::1", "[2001:db8::1]:80"),
            ("[2001:db8::1]", "[2001:db8::1]:80"),
            ("[2001:db8::1]:5000", "[2001:db8::1]:5000"),
        ] {
            assert_eq!(host_port(authority, 80).as_deref(), Some(port));
        }
        assert_eq!(host_port("", 80), None);
    }
}

//! Files that the daemon fetches for a build (`remote=`), as far as they cross the wire in clear.

use tw_model::FlowId;

use crate::content::context::ContextReader;

/// An exchange that carries an open build's `remote=`.
pub(crate) struct Fetch {
    /// Connection and exchange of the build.
    pub(crate) build: (FlowId, u64),
    /// Reads what is fetched: a tarball, or one text file that is the Dockerfile itself.
    pub(crate) reader: ContextReader,
}

/// A URL in the form in which two spellings of one resource are equal: scheme and host in lower
/// case, no user info, no default port, no fragment, at least `/` as path (RFC 3986 §6.2). `None` for
/// what is not http.
pub(crate) fn comparable(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let default_port = match scheme.as_str() {
        "http" => ":80",
        "https" => ":443",
        _ => return None,
    };
    let rest = rest.split('#').next().unwrap_or(rest);
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority.rsplit('@').next().unwrap_or(authority).to_ascii_lowercase();
    let host = host.strip_suffix(default_port).unwrap_or(&host);
    let slash = if path.starts_with('/') { "" } else { "/" };
    Some(format!("{scheme}://{host}{slash}{path}"))
}

/// Where a redirect leads, from the URL that was asked for (RFC 9110 §10.2.2).
pub(crate) fn redirected(from: &str, location: &str) -> Option<String> {
    if location.contains("://") {
        return comparable(location);
    }
    let path = location.strip_prefix('/')?;
    let (scheme, rest) = from.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    comparable(&format!("{scheme}://{authority}/{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_resource() {
        for url in [
            "http://Example.ORG/a?b=1",
            "HTTP://user:pw@example.org:80/a?b=1#frag",
            "http://example.org/a?b=1",
        ] {
            assert_eq!(comparable(url).as_deref(), Some("http://example.org/a?b=1"), "{url}");
        }
        assert_eq!(comparable("http://h:8080").as_deref(), Some("http://h:8080/"));
        assert_eq!(comparable("https://h:443?x").as_deref(), Some("https://h/?x"));
        assert_eq!(comparable("git://h/x"), None);
        assert_eq!(comparable("github.com/x/y"), None);
    }

    #[test]
    fn redirects() {
        let from = "http://h:81/a";
        assert_eq!(redirected(from, "/b").as_deref(), Some("http://h:81/b"));
        assert_eq!(redirected(from, "https://X/b").as_deref(), Some("https://x/b"));
        assert_eq!(redirected(from, "b"), None);
    }
}

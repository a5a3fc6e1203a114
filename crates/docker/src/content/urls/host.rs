//! The host and port of a URL, or of what a command takes in place of one.

use std::net::Ipv6Addr;

use tw_model::inet_aton;

/// Longest host name: RFC 1035 §2.3.4.
const MAX_NAME_BYTES: usize = 253;

/// Lower-case host name or address, and the port: as written, else the scheme's own.
///
/// Takes `scheme://[user@]host[:port]…`, `host[:port][/…]`, `[v6]:port` and `user@host:path`.
/// IPv4 addresses in the forms that `inet_aton` takes (`0x7f.1`, `3405803785`), which downloaders
/// accept, come back in dotted decimals. `None` where the host is empty, is no host name, or holds a
/// variable that has no value.
pub(crate) fn host_port(url: &str) -> Option<(String, Option<u16>)> {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, url),
    };
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let authority = rest.get(..end)?;
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if let Some(bracketed) = authority.strip_prefix('[') {
        let (address, tail) = bracketed.split_once(']')?;
        let address = address.split('%').next()?.parse::<Ipv6Addr>().ok()?;
        return Some((address.to_string(), port_of(tail.strip_prefix(':'), scheme)?));
    }
    if let Ok(address) = authority.parse::<Ipv6Addr>() {
        return Some((address.to_string(), port_of(None, scheme)?));
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, path)) if scheme.is_none() && !is_port(path) => (host, path_of(path)?),
        Some((host, port)) => (host, port_of(Some(port), scheme)?),
        None => (authority, port_of(None, scheme)?),
    };
    Some((host_name(host)?, port))
}

fn is_port(text: &str) -> bool {
    text.starts_with('$') || text.bytes().all(|b| b.is_ascii_digit())
}

/// What follows the colon of `git@host:path`; anything that is no path makes it no host.
fn path_of(path: &str) -> Option<Option<u16>> {
    path.chars().all(|c| c.is_alphanumeric() || "_-.~+$".contains(c)).then_some(None)
}

/// The inner `None` is "not said"; the outer one is "no port, so no URL".
fn port_of(written: Option<&str>, scheme: Option<&str>) -> Option<Option<u16>> {
    match written {
        Some(port) if port.starts_with('$') => Some(None),
        Some(port) if !port.is_empty() => port.parse().ok().map(Some),
        _ => Some(scheme.and_then(default_port)),
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    let port = match scheme.to_ascii_lowercase().as_str() {
        "http" | "git+http" | "ws" => 80,
        "https" | "git+https" | "wss" => 443,
        "ftp" => 21,
        "ssh" | "sftp" | "git+ssh" => 22,
        "git" => 9418,
        "rsync" => 873,
        "socks4" | "socks5" | "socks5h" => 1080,
        _ => return None,
    };
    Some(port)
}

fn host_name(host: &str) -> Option<String> {
    let decoded = percent_decoded(host);
    let host = decoded.trim_end_matches('.').to_lowercase();
    let clean = host.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_'));
    if host.is_empty()
        || host.len() > MAX_NAME_BYTES
        || !clean
        || host.split('.').any(str::is_empty)
    {
        return None;
    }
    if !host.chars().any(char::is_alphanumeric) {
        return None;
    }
    Some(inet_aton(&host).map_or(host, |address| address.to_string()))
}

/// `%2e` in a host is a dot to a downloader (RFC 3986 §3.2.2).
fn percent_decoded(host: &str) -> String {
    let mut out = Vec::with_capacity(host.len());
    let mut rest = host.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        match hex_pair(tail).filter(|_| byte == b'%') {
            Some(value) => {
                out.push(value);
                rest = tail.get(2..).unwrap_or(&[]);
            }
            None => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn hex_pair(bytes: &[u8]) -> Option<u8> {
    let high = char::from(*bytes.first()?).to_digit(16)?;
    let low = char::from(*bytes.get(1)?).to_digit(16)?;
    u8::try_from(high * 16 + low).ok()
}

#[cfg(test)]
mod tests {
    use super::host_port;

    #[test]
    fn host_and_port_of_every_form() {
        for (url, host, port) in [
            ("http://203.0.113.9/x", "203.0.113.9", Some(80)),
            ("HTTPS://User:p@CDN.Example.:8443/x?a@b", "cdn.example", Some(8443)),
            ("https://<redacted:01020304>@host/x", "host", Some(443)),
            ("git@github.com:org/repo.git", "github.com", None),
            ("ssh://git@host:2222/r", "host", Some(2222)),
            ("http://[2001:DB8::9]:81/x", "2001:db8::9", Some(81)),
            ("2001:db8::9", "2001:db8::9", None),
            ("evil.example/x.sh", "evil.example", None),
            ("evil.example:4444", "evil.example", Some(4444)),
            ("http://3405803785/", "203.0.113.9", Some(80)),
            ("http://0xcb.0.0x7109/", "203.0.113.9", Some(80)),
            ("http://0313.0.0161.011/", "203.0.113.9", Some(80)),
            ("http://203.0.113%2e9/", "203.0.113.9", Some(80)),
            ("http://h:$P/x", "h", None),
            ("http://h:/x", "h", Some(80)),
            ("http://host\\@other/", "host", Some(80)),
        ] {
            assert_eq!(host_port(url), Some((host.to_owned(), port)), "{url}");
        }
    }

    #[test]
    fn no_host_no_answer() {
        for url in [
            "",
            "http://",
            "http://$H/x",
            "http://${H}/",
            "http:///x",
            "http://a..b/",
            "http://h:99999/",
            "http://[::1/",
            "http://-/",
            "http://a b/",
            "/etc/passwd",
            "http://*.x/",
            "a:b c",
        ] {
            assert_eq!(host_port(url), None, "{url}");
        }
    }
}

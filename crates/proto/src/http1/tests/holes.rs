//! Bytes that are missing, and messages that were joined or lost.

use super::*;

#[test]
fn a_hole_in_a_body_of_known_length_is_skipped_exactly() {
    let lines = read(&[
        up("POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc"),
        Feed::Gap(UP, 5),
        up("ijGET /next HTTP/1.1\r\n\r\n"),
    ]);
    assert_lines(
        &lines,
        &[
            "0 > POST / HTTP/1.1 host=-",
            "0 > body abc",
            "0 > gap 5",
            "0 > body ij",
            "0 > Complete",
            "1 > GET /next HTTP/1.1 host=-",
            "1 > Complete",
        ],
    );
}

#[test]
fn a_hole_inside_one_chunk_is_skipped_and_one_beyond_it_ends_the_body() {
    let start = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nab";
    let lines = read(&[up(start), Feed::Gap(UP, 6), up("\r\n1\r\nz\r\n0\r\n\r\n")]);
    assert_eq!(lines[1..], ["0 > body ab", "0 > gap 6", "0 > body z", "0 > Complete"]);
    let lines = read(&[
        up(start),
        Feed::Gap(UP, 11),
        up("z\r\n0\r\n\r\n"),
        up("GET /again HTTP/1.1\r\n\r\n"),
    ]);
    assert_eq!(
        lines[1..],
        ["0 > body ab", "0 > gap 11", "0 > Cut", "1 > GET /again HTTP/1.1 host=-", "1 > Complete"]
    );
}

#[test]
fn a_hole_in_a_coded_body_loses_the_rest_of_it() {
    let body = gzip(&b"0123456789".repeat(10));
    let wire = response("gzip", &body);
    let (head, tail) = wire.split_at(wire.len() - 12);
    let lines =
        read(&[up("GET / HTTP/1.1\r\n\r\n"), down(head), Feed::Gap(DOWN, 4), down(&tail[4..])]);
    assert_eq!(lines[lines.len() - 2..], ["0 < gap 4", "0 < Cut"]);
}

#[test]
fn a_hole_in_a_head_gives_what_is_certain_of_it_and_reading_goes_on_at_the_next() {
    let lines = read(&[
        up("GET /lost HTTP/1.1\r\nHost: whole\r\nUpgrade: h2"),
        Feed::Gap(UP, 7),
        up("ng: 1\r\n\r\n"),
        up("GET /found HTTP/1.1\r\n\r\n"),
        down("HTTP/1.1 200 OK\r\nA: b\r\nCont"),
        Feed::Gap(DOWN, 9),
        down("HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n"),
    ]);
    assert_eq!(
        lines[..4],
        [
            "0 > GET /lost HTTP/1.1 host=whole cut",
            "0 > gap 7",
            "0 > Cut",
            "1 > GET /found HTTP/1.1 host=-"
        ]
    );
}

#[test]
fn a_head_cut_at_any_byte_tells_nothing_that_was_not_seen() {
    let head = "POST /v1.41/build?t=a%2Fb&q=1 HTTP/1.1\r\nHost: h:2375\r\nAccept: */*\r\n\r\n";
    let next = "GET /next HTTP/1.1\r\n\r\n";
    for at in 0..head.len() {
        let (seen, lost) = head.split_at(at);
        let lines = read(&[up(seen), Feed::Gap(UP, lost.len() as u64), up(next)]);
        let target = seen.strip_prefix("POST ").unwrap_or("").split(' ').next().unwrap();
        let last = lines.iter().find(|line| line.contains("/next"));
        assert!(last.is_some(), "cut at {at}: {lines:?}");
        if target.len() < 2 {
            assert!(lines[0].contains("/next"), "cut at {at}: {lines:?}");
            continue;
        }
        let whole_line = at > "POST /v1.41/build?t=a%2Fb&q=1".len();
        let host = if at >= head.find("Accept").unwrap() { "h:2375" } else { "-" };
        let extent = if whole_line { "cut" } else { "cut in its line" };
        let first = format!("0 > POST {target} HTTP/1.1 host={host} {extent}");
        assert_eq!(lines[0], first, "cut at {at}");
    }
}

#[test]
fn only_what_can_be_nothing_else_is_taken_for_a_cut_head() {
    for start in [
        "GET ",
        "GET x",
        "FROB /x",
        "CONNECT host:4",
        "GET /a\x01b",
        "HTTP/1.1",
        "HTTP/1.1 20",
        "HTTP/1.1 200",
    ] {
        for way in [UP, DOWN] {
            let lines = read(&[Feed::Data(way, start.into()), Feed::Gap(way, 50)]);
            assert_eq!(lines, [""; 0], "{start}");
        }
    }
    // In the middle of a segment it may be text in a body.
    let lines = read(&[
        up("GET / HTTP/1.1\r\n\r\n"),
        Feed::Gap(UP, 9),
        up("x\nPOST /build?"),
        Feed::Gap(UP, 9),
    ]);
    assert_eq!(lines, ["0 > GET / HTTP/1.1 host=-", "0 > Complete"]);
}

#[test]
fn a_cut_answer_goes_on_at_the_next_chunk_that_looks_like_one() {
    let lines = read(&[
        up("POST /build HTTP/1.1\r\nHo"),
        Feed::Gap(UP, 90),
        down("HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Ty"),
        Feed::Gap(DOWN, 90),
        down("not a chunk\r\n"),
        down("9\r\n{\"a\":\"b\"}\r\n"),
        down("40\r\n{\"stream\":\"St"),
        Feed::Gap(DOWN, 0x40 - 13 + 2),
        down("4\r\n{ }\n\r\n"),
        down("0\r\n\r\n"),
        up("GET /version HTTP/1.1\r\n\r\n"),
        down("HTTP/1.1 204 No Content\r\nServer: D"),
        Feed::Gap(DOWN, 90),
        down("HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n"),
    ]);
    assert_eq!(
        lines,
        [
            "0 > POST /build HTTP/1.1 host=- cut",
            "0 > gap 90",
            "0 > Cut",
            "0 < HTTP/1.1 200 cut",
            "0 < gap 90",
            "0 < gap 13",
            "0 < body {\"a\":\"b\"}{\"stream\":\"St",
            "0 < gap 53",
            "0 < body { }\n",
            "0 < Complete",
            "1 > GET /version HTTP/1.1 host=-",
            "1 > Complete",
            "1 < HTTP/1.1 204 cut",
            "1 < Complete",
            "2 < HTTP/1.1 404",
            "2 < Complete",
        ]
    );
}

#[test]
fn a_lost_answer_ends_with_the_next_request_or_answer() {
    let start = [
        up("GET /0 HTTP/1.1\r\n\r\n"),
        down("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nab"),
        Feed::Gap(DOWN, 50),
    ];
    let next = [up("GET /1 HTTP/1.1\r\n\r\n"), down("HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n")];
    for order in [[0, 1], [1, 0]] {
        let feeds: Vec<Feed> =
            start.iter().cloned().chain(order.map(|at| next[at].clone())).collect();
        let lines = read(&feeds);
        assert!(lines.iter().any(|line| line == "0 < Cut"), "{lines:?}");
        assert!(lines.iter().any(|line| line == "1 < HTTP/1.1 404"), "{lines:?}");
        assert!(lines.iter().any(|line| line.starts_with("1 > GET /1")), "{lines:?}");
    }
}

#[test]
fn after_missed_responses_the_latest_request_is_answered() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let lines = read(&[
        up("GET /0 HTTP/1.1\r\n\r\n"),
        down(answer),
        up("GET /1 HTTP/1.1\r\n\r\n"),
        Feed::Gap(DOWN, 100),
        up("GET /2 HTTP/1.1\r\n\r\n"),
        down("HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n"),
    ]);
    assert_eq!(lines[lines.len() - 2..], ["2 < HTTP/1.1 404", "2 < Complete"]);
}

#[test]
fn an_answer_missed_late_is_not_made_up_for_by_the_next_one() {
    // The hole is told when the requests behind it have come; what waited keeps its time.
    let lines = read(&[
        Feed::At(1),
        up("GET /list HTTP/1.1\r\nHost: h\r\n\r\n"),
        Feed::At(3),
        up("GET /image HTTP/1.1\r\nHost: h\r\n\r\n"),
        Feed::At(5),
        up("POST /build HTTP/1.1\r\nHost: h\r\n\r\n"),
        Feed::At(2),
        Feed::Gap(DOWN, 100),
        Feed::At(4),
        down("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\ni"),
        Feed::At(6),
        down("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb"),
    ]);
    let answers: Vec<&String> = lines.iter().filter(|line| line.contains("< body")).collect();
    assert_eq!(answers, ["1 < body i", "2 < body b"], "\n{}", lines.join("\n"));
}

#[test]
fn an_answer_to_a_request_that_was_missed_waits_for_none() {
    let lines = read(&[
        Feed::At(1),
        up("GET /a HTTP/1.1\r\nHost: h\r\n\r\n"),
        Feed::At(2),
        down("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"),
        Feed::Gap(UP, 50),
        Feed::At(5),
        up("POST /build HTTP/1.1\r\nHost: h\r\n\r\n"),
        Feed::At(4),
        down("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"),
        Feed::At(6),
        down("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb"),
    ]);
    let answers: Vec<&String> = lines.iter().filter(|line| line.contains("< body")).collect();
    assert_eq!(answers, ["0 < body a", "2 < body x", "1 < body b"], "\n{}", lines.join("\n"));
}

#[test]
fn progress_is_read_on_where_its_head_is_missing() {
    let chunk = |text: &str| down(format!("{:x}\r\n{text}\r\n", text.len()));
    let step = r#"{"stream":"Step 2/2 : RUN x"}"#;
    let joined = read_midstream(&[chunk(step), chunk(r#"{"stream":"y"}"#), down("0\r\n\r\n")]);
    assert_lines(
        &joined,
        &[
            "0 < HTTP/1.1 200 missing",
            r#"0 < body {"stream":"Step 2/2 : RUN x"}{"stream":"y"}"#,
            "0 < Complete",
        ],
    );
    let lost =
        read(&[up("POST /build HTTP/1.1\r\nHost: h\r\n\r\n"), Feed::Gap(DOWN, 90), chunk(step)]);
    assert!(lost.contains(&r#"0 < body {"stream":"Step 2/2 : RUN x"}"#.to_owned()), "{lost:?}");
    let other = read_midstream(&[chunk(r#"{"name":"y"}"#), chunk(r#"{"name":"y"}"#)]);
    assert!(other.is_empty(), "{other:?}");
}

#[test]
fn joined_inside_a_body_reading_begins_at_the_next_message() {
    let lines = read_midstream(&[
        up("rest of a body\x00\x01 GET"),
        down(b"\xff\xfe{\"stream\":\"HTTP\"}\n"),
        up("more of it\r\nGET /x HTTP/1.1\r\nHost: h\r\n\r\n"),
        down("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n."),
        up("POST /y HTTP/1.1\r\n\r\n"),
    ]);
    assert_lines(
        &lines,
        &[
            "0 > GET /x HTTP/1.1 host=h",
            "0 > Complete",
            "0 < HTTP/1.1 200",
            "0 < body .",
            "0 < Complete",
            "1 > POST /y HTTP/1.1 host=-",
            "1 > Complete",
        ],
    );
}

#[test]
fn one_direction_alone_is_read() {
    let lines = read_at_every_cut(&[up(
        "GET /0 HTTP/1.1\r\n\r\nPUT /1 HTTP/1.1\r\nContent-Length: 1\r\n\r\nx",
    )]);
    assert_eq!(lines.len(), 5);
    let answers = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 404 x\r\n\r\nb";
    let lines = read_at_every_cut(&[down(answers)]);
    assert_lines(
        &lines,
        &[
            "0 < HTTP/1.1 200",
            "0 < body a",
            "0 < Complete",
            "1 < HTTP/1.1 404",
            "1 < body b",
            "1 < Closed",
        ],
    );
}

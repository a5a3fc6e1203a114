use super::{Conn, DAEMON, Driver, tar};

const SECRET: &str = "hunter2hunter2";

/// Nothing that goes out may carry the secret, in any form of any observation.
fn assert_silent(driver: &Driver) {
    for observation in &driver.seen {
        let text = format!("{observation:?}");
        assert!(!text.contains(SECRET), "{text}");
    }
}

fn docker(flow: usize) -> Conn {
    Conn::docker(u64::try_from(flow).expect("small"))
}

#[test]
fn build_arguments_and_headers() {
    let mut driver = Driver::new();
    let fields = [
        ("content-type", "application/x-tar"),
        ("x-registry-config", SECRET),
        ("x-registry-auth", SECRET),
        ("authorization", SECRET),
        ("cookie", SECRET),
    ];
    let file = format!(
        "FROM a\nARG API_TOKEN={SECRET}\nENV DB_PASSWORD={SECRET}\n\
         RUN curl -H \"Authorization: Bearer {SECRET}\" http://u:{SECRET}@203.0.113.1/x\n"
    );
    let archive = tar(&[("Dockerfile", &file)]);
    let lines = [
        format!("POST /build?buildargs=%7B%22API_TOKEN%22%3A%22{SECRET}%22%7D&t=a"),
        format!("POST /build?%62uildargs={{\"API_TOKEN\":\"{SECRET}\"}}&t=a"),
        format!("POST /build?remote=http://u:{SECRET}@203.0.113.1/D&t=a"),
        format!("POST /build?remote=http%3A%2F%2Fu%3A{SECRET}%40203.0.113.1%2FD"),
        format!("POST http://u:{SECRET}@10.10.1.5:2375/build?t=a"),
    ];
    for (at, line) in lines.iter().enumerate() {
        let conn = docker(at);
        driver.request(conn, 0, line, &fields, &archive);
        let step =
            format!("{{\"stream\":\"Step 1/1 : RUN curl -u u:{SECRET} http://203.0.113.1\"}}\r\n");
        driver.answer(conn, 0, 200, DAEMON, &step);
        driver.close(conn);
    }
    assert_eq!(driver.builds().len(), 5);
    assert!(driver.builds()[0].build_args["API_TOKEN"].starts_with("<redacted:"));
    assert_silent(&driver);
}

#[test]
fn containers_execs_and_imports() {
    let mut driver = Driver::new();
    let conn = Conn::docker(1);
    let body = format!(
        "{{\"Image\":\"a\",\"Env\":[\"DB_PASSWORD={SECRET}\",\"U=http://u:{SECRET}@h.test/x\"],\
         \"Cmd\":[\"curl\",\"-u\",\"u:{SECRET}\",\"--token\",\"{SECRET}\",\
         \"http://u:{SECRET}@h.test/\"]}}"
    );
    driver.call(conn, 0, "POST /containers/create", &body, 201, "{\"Id\":\"c1\"}");
    let exec =
        format!("{{\"Cmd\":[\"mysql\",\"--password={SECRET}\"],\"Env\":[\"TOKEN={SECRET}\"]}}");
    driver.call(conn, 1, "POST /containers/c1/exec", &exec, 201, "{\"Id\":\"e1\"}");
    driver.call(conn, 2, "POST /exec/e1/start", "{}", 200, "");
    let line = format!("POST /images/create?fromSrc=http://u:{SECRET}@h.test/a.tar");
    driver.call(conn, 3, &line, "", 200, "");
    driver.call(conn, 4, "POST /auth", &format!("{{\"password\":\"{SECRET}\"}}"), 200, "{}");
    assert_eq!(driver.containers().len(), 2);
    assert_silent(&driver);
}

#[test]
fn urls_of_any_exchange() {
    let mut driver = Driver::new();
    let lines = [
        format!("GET /x?access_token={SECRET}"),
        format!("GET /x?%61ccess_token={SECRET}"),
        format!("GET http://u:{SECRET}@h.test/x"),
        format!("CONNECT u:{SECRET}@h.test:443"),
    ];
    for (at, line) in lines.iter().enumerate() {
        let conn = docker(at);
        driver.request(conn, 0, line, &[], b"");
        let location = format!("http://u:{SECRET}@h.test/y?token={SECRET}");
        driver.answer(conn, 0, 302, &[("location", &location)], "");
    }
    assert_eq!(driver.exchanges().len(), 4);
    assert_silent(&driver);
}

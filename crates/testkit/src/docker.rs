//! Docker Engine API requests and answers as clients and daemons send them.

use crate::tar;

/// An HTTP/1.1 request with a body.
#[must_use]
pub fn http_request(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut request = format!("{method} {target} HTTP/1.1\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        request.push_str("Host: docker\r\n");
    }
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    let mut bytes = request.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Docker Engine API v1.41, ImageBuild.
#[derive(Clone, Debug)]
pub struct BuildRequest<'a> {
    /// Request target after `/v1.41/build?`.
    pub query: &'a str,
    /// Headers besides Host, Content-Type and Content-Length.
    pub headers: &'a [(&'a str, &'a str)],
    /// What the context holds, as a Dockerfile.
    pub dockerfile: &'a [u8],
}

impl BuildRequest<'_> {
    /// The request with its context, a tar archive.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut headers = self.headers.to_vec();
        headers.push(("Content-Type", "application/x-tar"));
        let target = format!("/v1.41/build?{}", self.query);
        http_request("POST", &target, &headers, &tar(&[("Dockerfile", self.dockerfile)]))
    }
}

/// The answer of a daemon that sends JSON lines in chunks (RFC 9112 §7.1), one for each line.
#[must_use]
pub fn daemon_answer(lines: &[&str]) -> Vec<u8> {
    let mut answer = String::from(
        "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\n\
         Server: Docker/20.10.24 (linux)\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    for line in lines {
        answer.push_str(&format!("{:x}\r\n{line}\r\n\r\n", line.len() + 2));
    }
    answer.push_str("0\r\n\r\n");
    answer.into_bytes()
}

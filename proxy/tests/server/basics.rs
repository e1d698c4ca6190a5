//! The ordinary life of requests: HTTP/1.1 and 1.0, routing, keep-alive, framing of answers.

use rust_ingress_model::{HostPattern, PathMatch};

use crate::support::{Draft, Echo, Served, header, options, rule, status};

#[test]
fn a_request_reaches_its_endpoint_with_forwarded_headers() {
    let echo = Echo::new();
    let served = Served::new(options(), &Draft::to(echo.address));
    let mut client = served.client();
    client.send("GET /a/b?q=1 HTTP/1.1\r\nHost: Foo.Example:8080\r\nConnection: keep-alive\r\n\r\n");
    let answer = client.response();
    assert_eq!(status(&answer), 200, "{answer}");
    let seen = answer.split_once("\r\n\r\n").unwrap().1.to_ascii_lowercase();
    assert!(seen.starts_with("get /a/b?q=1 http/1.1\r\n"), "{seen}");
    for line in
        ["host: foo.example:8080", "x-forwarded-for: 127.0.0.1", "x-forwarded-proto: http", "x-forwarded-host: foo.example:8080"]
    {
        assert!(seen.contains(&format!("{line}\r\n")), "{line}: {seen}");
    }
    assert!(seen.contains("x-request-id: ") && !seen.contains("connection: keep-alive"), "{seen}");
}

#[test]
fn a_connection_serves_many_requests_also_pipelined() {
    let echo = Echo::new();
    let served = Served::new(options(), &Draft::to(echo.address));
    let mut client = served.client();
    client.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /3 HTTP/1.1\r\nHost: a\r\n\r\n");
    for path in ["GET /1 ", "POST /2 ", "GET /3 "] {
        let answer = client.response();
        assert!(answer.split_once("\r\n\r\n").unwrap().1.starts_with(path), "{answer}");
    }
    assert_eq!(echo.count(), 3);
}

#[test]
fn nothing_routed_is_404_with_our_name_and_a_date() {
    let echo = Echo::new();
    let draft = Draft::default().listen("http", crate::support::listener()).endpoint(echo.address);
    let draft = draft.host(HostPattern::Exact("a.example".into()), vec![rule(PathMatch::Prefix("/x".into()))]);
    let served = Served::new(options(), &draft);
    let mut client = served.client();
    for (host, path, expected) in [("a.example", "/x/y", 200), ("a.example", "/", 404), ("b.example", "/x", 404)] {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let answer = client.response();
        assert_eq!(status(&answer), expected, "{host}{path}: {answer}");
        if expected == 404 {
            assert_eq!(header(&answer, "server"), Some("rust-ingress"));
        }
        assert!(header(&answer, "date").is_some(), "{answer}");
    }
}

#[test]
fn http_1_0_is_served_and_closed_unless_it_asks_otherwise() {
    let echo = Echo::new();
    let served = Served::new(options(), &Draft::to(echo.address));
    let answer = served.raw("GET /old HTTP/1.0\r\n\r\n");
    assert_eq!(status(&answer), 200, "{answer}");
    let mut client = served.client();
    for _ in 0..2 {
        client.send("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(status(&client.response()), 200);
    }
}

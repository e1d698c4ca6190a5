//! The gate, row by row of the checklist that it is built from (RFC 9110, 9112): hostile bytes over real sockets.

use crate::support::{Client, Draft, Echo, Served, header, options, status};

/// Sends each request on a connection of its own, whole and byte by byte: it must be refused with this status, the connection
/// closed, and nothing of it reach the endpoint.
fn refused(cases: &[(&str, &[u8], u16)]) {
    let echo = Echo::new();
    let served = Served::new(options(), &Draft::to(echo.address));
    for (name, request, expected) in cases {
        let whole = served.raw(request);
        assert_eq!(status(&whole), *expected, "{name}: {whole}");
        assert_eq!(header(&whole, "connection"), Some("close"), "{name}: {whole}");
        let mut client = served.client();
        for byte in *request {
            client.send([*byte]);
        }
        assert_eq!(status(&client.rest()), *expected, "{name}, byte by byte");
        // Behind a good request on the same connection.
        let mut client = served.client();
        client.send([b"GET /good HTTP/1.1\r\nHost: a\r\n\r\n", *request].concat());
        assert_eq!(status(&client.response()), 200, "{name}, pipelined");
        assert_eq!(status(&client.rest()), *expected, "{name}, pipelined");
    }
    assert_eq!(echo.count(), cases.len(), "only the good requests reached the endpoint");
}

#[test]
fn ambiguous_framing_is_refused() {
    refused(&[
        ("CL and TE", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("TE and CL", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
        ("TE not final chunked", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400),
        ("TE with an empty last coding", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked,\r\n\r\n0\r\n\r\n", 400),
        ("TE unknown", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        ("TE identity", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", 400),
        (
            "TE twice",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        ("TE chunked, chunked", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
        ("TE with a vertical tab", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
        ("TE in HTTP/1.0", b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("CL twice, differing", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        ("CL twice, alike", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", 400),
        ("CL list", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 2\r\n\r\na", 400),
        ("CL signed", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na", 400),
        ("CL negative", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\na", 400),
        ("CL empty", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\na", 400),
        ("CL too large", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\na", 400),
    ]);
}

#[test]
fn sloppy_lines_are_refused() {
    refused(&[
        ("bare LF everywhere", b"GET / HTTP/1.1\nHost: a\n\n", 400),
        ("bare LF behind a header", b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400),
        ("bare LF as the empty line", b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
        ("bare CR in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n", 400),
        ("bare CR as a line", b"GET / HTTP/1.1\r\nHost: a\r\n\rX: b\r\n\r\n", 400),
        ("obs-fold", b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", 400),
        ("obs-fold with a tab", b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\tc\r\n\r\n", 400),
        ("space before the first header", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
        ("space before a colon", b"GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n", 400),
        ("tab before a colon", b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\t: chunked\r\n\r\n", 400),
        ("no colon", b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", 400),
        ("empty name", b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 400),
        ("NUL in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n", 400),
        ("a control in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: b\x02c\r\n\r\n", 400),
        ("DEL in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: b\x7fc\r\n\r\n", 400),
        ("NUL in a name", b"GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n", 400),
        ("8 bits in a name", b"GET / HTTP/1.1\r\nHost: a\r\nX\xe9: b\r\n\r\n", 400),
        ("two spaces behind the method", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("two spaces before the version", b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("a tab behind the method", b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("a bad method", b"G{T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("a long method", b"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJ / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ]);
}

#[test]
fn other_versions_are_refused() {
    refused(&[
        ("HTTP/0.9", b"GET /\r\n", 400),
        ("HTTP/1.2", b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505),
        ("HTTP/2.0 in a line", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        ("HTTP/3.0 in a line", b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
        ("http/1.1", b"GET / http/1.1\r\nHost: a\r\n\r\n", 400),
        ("HTTP/11", b"GET / HTTP/11\r\nHost: a\r\n\r\n", 400),
        ("no version", b"GET / \r\nHost: a\r\n\r\n", 400),
    ]);
}

#[test]
fn targets_that_are_read_in_two_ways_are_refused_before_parsing() {
    refused(&[
        ("fragment", b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("8 bits", b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("control", b"GET /a\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("DEL", b"GET /a\x7f HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("backslash", b"GET /a\\b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("no slash", b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("asterisk with GET", b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("authority form", b"GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("CONNECT", b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 405),
        ("CONNECT to a path", b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    ]);
}

/// Sends each request in turn over one connection: refused after parsing, the connection stays.
fn answered(cases: &[(&str, &str, u16)]) -> usize {
    let echo = Echo::new();
    let served = Served::new(options(), &Draft::to(echo.address));
    for (name, request, expected) in cases {
        let mut client = served.client();
        client.send(request);
        let answer = client.response();
        assert_eq!(status(&answer), *expected, "{name}: {answer}");
    }
    echo.count()
}

#[test]
fn hosts_that_are_none_are_refused() {
    let reached = answered(&[
        ("missing", "GET / HTTP/1.1\r\n\r\n", 400),
        ("twice", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("twice alike", "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", 400),
        ("empty", "GET / HTTP/1.1\r\nHost: \r\n\r\n", 400),
        ("list", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
        ("userinfo", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400),
        ("port too large", "GET / HTTP/1.1\r\nHost: a:99999999\r\n\r\n", 400),
        ("port empty", "GET / HTTP/1.1\r\nHost: a:\r\n\r\n", 400),
        ("port not a number", "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400),
        ("slash", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        ("percent", "GET / HTTP/1.1\r\nHost: a%2eb\r\n\r\n", 400),
        ("bad IPv6", "GET / HTTP/1.1\r\nHost: [::g]\r\n\r\n", 400),
        ("absolute form without Host", "GET http://a/ HTTP/1.1\r\n\r\n", 400),
        ("absolute form with userinfo", "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("absolute form of another scheme", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("unknown expectation", "GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n", 417),
    ]);
    assert_eq!(reached, 0);
}

#[test]
fn paths_that_servers_read_differently_are_refused() {
    let reached = answered(&[
        ("encoded slash", "GET /a%2fb HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("encoded backslash", "GET /a%5Cb HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("encoded NUL", "GET /a%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("encoded LF", "GET /a%0a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("cut encoding", "GET /a%2 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("not an encoding", "GET /a%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("above the root", "GET /a/../../b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("above the root, encoded", "GET /%2e%2e/b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ]);
    assert_eq!(reached, 0);
}

/// What the endpoint saw of a request.
fn seen(client: &mut Client, request: &str) -> String {
    client.send(request);
    let answer = client.response();
    assert_eq!(status(&answer), 200, "{request:?}: {answer}");
    answer.split_once("\r\n\r\n").expect("a body").1.to_ascii_lowercase()
}

#[test]
fn what_was_matched_is_what_is_forwarded() {
    let echo = Echo::new();
    let served = Served::new(options(), &Draft::to(echo.address));
    let mut client = served.client();
    for (sent, forwarded) in [
        ("/a/../b", "/b"),
        ("/a/./b/%2e%2e/c?x=/../y", "/a/c?x=/../y"),
        ("/%61%2D%7e?%61", "/a-~?%61"),
        ("/a//b", "/a//b"),
        ("/a%3fb", "/a%3fb"),
        ("/a%252fb", "/a%252fb"),
        ("http://b.example:81/c?d", "/c?d"),
        ("http://b.example", "/"),
    ] {
        let request = seen(&mut client, &format!("GET {sent} HTTP/1.1\r\nHost: a.example\r\n\r\n"));
        assert!(request.starts_with(&format!("get {forwarded} http/1.1\r\n")), "{sent}: {request}");
        let host = if sent.starts_with("http://b.example:81") {
            "b.example:81"
        } else if sent.starts_with("http") {
            "b.example"
        } else {
            "a.example"
        };
        assert_eq!(request.matches("\r\nhost: ").count(), 1, "{request}");
        assert!(request.contains(&format!("\r\nhost: {host}\r\n")), "{sent}: the target's authority wins: {request}");
    }
}

#[test]
fn headers_of_one_hop_are_stripped_but_none_that_names_the_client() {
    let echo = Echo::new();
    let served = Served::new(options(), &Draft::to(echo.address));
    let request = seen(
        &mut served.client(),
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Nominated, X-Forwarded-For, Authorization\r\nKeep-Alive: 5\r\n\
         Proxy-Connection: x\r\nX-Nominated: x\r\nTE: gzip, trailers\r\nAuthorization: kept\r\nHTTP2-Settings: x\r\n\
         X_Forwarded_For: 6.6.6.6\r\nX.Forwarded.Host: evil\r\nX-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n\r\n",
    );
    for gone in
        ["connection:", "keep-alive", "x-nominated", "gzip", "http2-settings", "6.6.6.6", "evil", "x_forwarded", "x.forwarded"]
    {
        assert!(!request.contains(gone), "{gone}: {request}");
    }
    for kept in ["te: trailers", "authorization: kept", "x-forwarded-for: 127.0.0.1\r\n"] {
        assert!(request.contains(kept), "{kept}: {request}");
    }
}

#[test]
fn an_upgrade_to_h2c_is_neither_taken_nor_forwarded() {
    let echo = Echo::new();
    let served = Served::new(options(), &Draft::to(echo.address));
    let mut client = served.client();
    for _ in 0..2 {
        let request = seen(
            &mut client,
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
        );
        assert!(!request.contains("upgrade") && !request.contains("http2-settings"), "{request}");
    }
}

#[test]
fn max_forwards_0_is_answered_here() {
    let echo = Echo::new();
    let served = Served::new(options(), &Draft::to(echo.address));
    let mut client = served.client();
    client.send("OPTIONS /a HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n");
    let answer = client.response();
    assert!(status(&answer) == 200 && header(&answer, "allow").is_some(), "{answer}");
    client.send("TRACE /a HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\nCookie: secret\r\nX-Seen: yes\r\n\r\n");
    let answer = client.response();
    assert!(answer.contains("x-seen: yes") && !answer.contains("secret"), "{answer}");
    client.send("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(status(&client.response()), 200);
    assert_eq!(echo.count(), 0);
    let request = seen(&mut client, "OPTIONS /a HTTP/1.1\r\nHost: a\r\nMax-Forwards: 7\r\n\r\n");
    assert!(request.contains("max-forwards: 6\r\n"), "{request}");
}

#[test]
fn broken_chunks_never_reach_the_endpoint_as_a_whole_request() {
    let echo = Echo::new();
    let served = Served::new(options(), &Draft::to(echo.address));
    for (name, body) in [
        ("bare LF behind the size", "3\nabc\r\n0\r\n\r\n"),
        ("bare LF behind the data", "3\r\nabc\n0\r\n\r\n"),
        ("bare LF behind the last size", "3\r\nabc\r\n0\n\r\n"),
        ("bare LF at the end", "3\r\nabc\r\n0\r\n\n"),
        ("data too long", "3\r\nabcd\r\n0\r\n\r\n"),
        ("size with 0x", "0x3\r\nabc\r\n0\r\n\r\n"),
        ("size negative", "-3\r\nabc\r\n0\r\n\r\n"),
        ("size empty", "\r\nabc\r\n0\r\n\r\n"),
        ("size too large", "ffffffffffffffff3\r\nabc\r\n0\r\n\r\n"),
        ("space before the size", " 3\r\nabc\r\n0\r\n\r\n"),
        ("space behind the size", "3 \r\nabc\r\n0\r\n\r\n"),
        ("extension with a bare LF", "3;a\nabc\r\n0\r\n\r\n"),
        ("trailer with a bare LF", "3\r\nabc\r\n0\r\nX: y\n\r\n"),
        ("trailer folded", "3\r\nabc\r\n0\r\nX: y\r\n z\r\n\r\n"),
        ("trailer without a name", "3\r\nabc\r\n0\r\n: y\r\n\r\n"),
    ] {
        for pieces in [1, 7] {
            let mut client = served.client();
            let request = format!(
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
            );
            for piece in request.as_bytes().chunks(request.len().div_ceil(pieces)) {
                client.send(piece);
            }
            let answer = client.rest();
            assert!(answer.is_empty() || status(&answer) == 400, "{name}: {answer}");
            assert_eq!(answer.matches("HTTP/1.1 ").count().min(2) / 2, 0, "one answer at most: {name}: {answer}");
        }
    }
    assert_eq!(echo.count(), 0, "no broken body is passed on whole");
}

#[test]
fn well_formed_chunks_pass_in_any_pieces() {
    let echo = Echo::new();
    let served = Served::new(options(), &Draft::to(echo.address));
    let request = "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n3;x=\"y\"\r\nabc\r\nA\r\n0123456789\r\n0\r\nX-T: 1\r\n\r\n";
    for size in [1, 2, 3, 5, request.len()] {
        let mut client = served.client();
        for piece in request.as_bytes().chunks(size) {
            client.send(piece);
        }
        let answer = client.response();
        assert_eq!(status(&answer), 200, "{answer}");
        client.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(client.response().contains("GET /next"), "the next request is read where the body ends");
    }
}

#[test]
fn heads_beyond_the_limits_are_refused() {
    let echo = Echo::new();
    let served = Served::new(options(), &Draft::to(echo.address));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(100));
    assert_eq!(status(&served.raw(many)), 431);
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(70_000));
    assert_eq!(status(&served.raw(long)), 431);
    let target = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "y".repeat(70_000));
    assert!([414, 431].contains(&status(&served.raw(target))));
    let endless = "G".repeat(70_000);
    assert_eq!(status(&served.raw(endless)), 400);
    let fits = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\nConnection: close\r\n\r\n", "y".repeat(60_000));
    assert_eq!(status(&served.raw(fits)), 200);
    assert_eq!(echo.count(), 1);
}

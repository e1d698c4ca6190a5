//! Responses on the relay: framing, fields of a hop, interim ones, what is none, and those that break off.

use std::io::Write;

use rust_ingress_proxy::options::Options;

use super::{GET, answering, endpoint, framed, head, served};
use crate::support::{Client, Draft, Served, options, status};

#[test]
fn responses_are_framed_as_they_must_be_and_the_connection_serves_on() {
    for (name, method, answer, expected) in [
        ("length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "abc"),
        ("no body", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""),
        ("one length twice", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3, 3\r\n\r\nabc", "abc"),
        (
            "chunks",
            "GET",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2  \r\nde\r\n0\r\nT: u\r\n\r\n",
            "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        ),
        (
            "chunks beside a length",
            "GET",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
            "1\r\na\r\n0\r\n\r\n",
        ),
        ("until the end", "GET", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc", "3\r\nabc\r\n0\r\n\r\n"),
        ("HTTP/1.0", "GET", "HTTP/1.0 200 Fine\r\nConnection: close\r\nContent-Length: 1\r\n\r\na", "a"),
        ("HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", ""),
        ("HEAD of chunks", "HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", ""),
        ("204", "GET", "HTTP/1.1 204 No Content\r\n\r\n", ""),
        ("304", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n", ""),
    ] {
        let served = served(answering(answer).0);
        let mut client = served.client();
        for _ in 0..2 {
            client.send(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"));
            let empty = method == "HEAD" || answer.contains(" 304 ") || answer.contains(" 204 ");
            let got = framed(&mut client, empty);
            let (head, body) = got.split_once("\r\n\r\n").unwrap();
            assert_eq!(body, expected, "{name}: {got}");
            assert!(head.matches("ength: ").count() + head.matches("ransfer-encoding").count() <= 1, "{name}: {head}");
            assert!(!head.contains("lose") && !head.contains("T: u"), "{name}: {head}");
        }
    }
}

#[test]
fn a_reason_and_fields_of_the_endpoint_pass_and_those_of_its_hop_do_not() {
    let served = served(
        answering(
            "HTTP/1.1 299 All Is Well\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\nKeep-Alive: 5\r\n\
             Connection: keep-alive, X-Mine\r\nX-Mine: 1\r\nContent-Length: 0\r\n\r\n",
        )
        .0,
    );
    let mut client = served.client();
    client.send(GET);
    let answer = client.response();
    assert!(answer.starts_with("HTTP/1.1 299 All Is Well\r\nDate: Sun, 06 Nov 1994"), "{answer}");
    assert_eq!(answer.matches("Set-Cookie: ").count(), 2, "{answer}");
    assert!(!answer.contains("live") && !answer.contains("Mine") && answer.matches("ate: ").count() == 1, "{answer}");
}

#[test]
fn interim_responses_are_dropped_and_counted() {
    let (address, _) = answering(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let health = Some("127.0.0.1:0".parse().unwrap());
    let served = Served::new(Options { health, ..options() }, &Draft::to(address));
    let mut client = served.client();
    client.send(GET);
    let answer = client.response();
    assert!(status(&answer) == 200 && answer.ends_with("ok") && !answer.contains("Link"), "{answer}");
    let mut health = Client::to(served.proxy.observer().health_addr().unwrap());
    health.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert!(health.rest().contains("rust_ingress_interim_responses_dropped_total 2"), "both are counted");
}

#[test]
fn what_is_no_response_is_502_and_says_so_in_the_log() {
    for (name, answer, kind) in [
        ("not HTTP", "SSH-2.0-x\r\n\r\n", "upstream_protocol"),
        ("an unasked switch", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "upstream_protocol"),
        ("lengths that differ", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "upstream_protocol"),
        ("a coding that isn't chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nab", "upstream_protocol"),
        ("an end in its head", "HTTP/1.1 200 OK\r\nConnection: close\r\n", "upstream_reset"),
    ] {
        let (address, _) = endpoint(move |mut stream, _| {
            if head(&mut stream).is_some() {
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        let served = served(address);
        let mut client = served.client();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        let answer = client.response();
        assert!(status(&answer) == 502 && answer.contains(kind), "{name}: {answer}");
        client.send("GET /%2f HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(status(&client.response()), 400, "{name}: the connection serves on");
    }
}

#[test]
fn a_response_that_breaks_off_is_broken_for_the_client_too() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcX\r\n0\r\n\r\n",
    ] {
        let (address, _) = endpoint(move |mut stream, _| {
            if head(&mut stream).is_some() {
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        let text = served(address).raw(GET);
        assert!(text.contains("200 OK") && text.contains("abc"), "{text}");
        assert!(!text.contains("0\r\n\r\n"), "it doesn't look whole: {text}");
    }
}

//! Limits and timeouts: slow heads, idle connections, too many connections, requests or bytes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use rust_ingress_model::{HostPattern, PathMatch, Rule};
use rust_ingress_proxy::options::{DefaultTimeouts, Limits, Options};

use crate::support::{Draft, Echo, Served, options, rule, status};

fn timeouts(timeouts: DefaultTimeouts) -> Options {
    Options { timeouts, ..options() }
}

fn limits(limits: Limits) -> Options {
    Options { limits, ..options() }
}

#[test]
fn a_head_that_does_not_come_whole_is_answered_408() {
    let echo = Echo::new();
    let short = DefaultTimeouts { header_read: Duration::from_millis(200), ..DefaultTimeouts::default() };
    let served = Served::new(timeouts(short), &Draft::to(echo.address));
    let answer = served.raw("GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ");
    assert_eq!(status(&answer), 408, "{answer}");
    let mut client = served.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HT");
    assert_eq!(status(&client.response()), 200);
    assert_eq!(status(&client.rest()), 408, "also behind a good request");
}

#[test]
fn a_silent_connection_is_closed() {
    let echo = Echo::new();
    let short = DefaultTimeouts {
        header_read: Duration::from_millis(200),
        keep_alive: Duration::from_millis(200),
        ..DefaultTimeouts::default()
    };
    let served = Served::new(timeouts(short), &Draft::to(echo.address));
    assert_eq!(served.raw(""), "", "nothing was asked");
    let mut client = served.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(status(&client.response()), 200);
    assert_eq!(client.rest(), "", "idle after a request");
}

#[test]
fn connections_over_the_limit_are_closed_and_room_is_made_again() {
    let echo = Echo::new();
    let served = Served::new(limits(Limits { connections: 2, ..Limits::default() }), &Draft::to(echo.address));
    over_the_limit(&served);
}

#[test]
fn connections_of_one_address_are_limited() {
    let echo = Echo::new();
    let served = Served::new(limits(Limits { connections_per_address: 2, ..Limits::default() }), &Draft::to(echo.address));
    over_the_limit(&served);
}

/// Two connections are served, a third isn't; when one of them has gone another is.
fn over_the_limit(served: &Served) {
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut kept: Vec<_> = (0..2).map(|_| served.client()).collect();
    for client in &mut kept {
        client.send(request);
        assert_eq!(status(&client.response()), 200);
    }
    let refused = served.raw(request);
    assert!(refused.is_empty() || refused == "<reset>", "{refused}");
    kept.pop();
    let deadline = std::time::Instant::now() + crate::support::PATIENCE;
    while !served.raw("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").contains("200 OK") {
        assert!(std::time::Instant::now() < deadline, "room is made again");
    }
}

#[test]
fn requests_over_the_limit_are_503() {
    let echo = Echo::new();
    let served = Served::new(limits(Limits { requests_in_flight: 0, ..Limits::default() }), &Draft::to(echo.address));
    let mut client = served.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = client.response();
    assert!(status(&answer) == 503 && answer.contains("overloaded"), "{answer}");
}

#[test]
fn a_body_over_the_rules_limit_is_413_and_the_client_sees_it() {
    let echo = Echo::new();
    let small = Rule { max_body: Some(10), ..rule(PathMatch::Prefix("/".into())) };
    let served = Served::new(options(), &Draft::to(echo.address).host(HostPattern::Any, vec![small]));
    let body = "x".repeat(100_000);
    let sized = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    assert_eq!(status(&served.raw(sized)), 413);
    let chunked =
        format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    assert_eq!(status(&served.raw(chunked)), 413);
}

#[test]
fn a_100_continue_is_given_when_the_body_is_wanted() {
    let echo = Echo::new();
    let served = Served::new(options(), &Draft::to(echo.address));
    let mut client = served.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.response(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("abc");
    let answer = client.response();
    assert!(status(&answer) == 200 && answer.ends_with("abc"), "{answer}");
}

#[test]
fn a_client_that_takes_nothing_is_dropped() {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    let (gone, ended) = channel();
    thread::spawn(move || {
        let (mut stream, _) = socket.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
        while stream.write_all(&[b'x'; 65536]).is_ok() {}
        gone.send(()).unwrap();
    });
    let short = DefaultTimeouts { idle: Duration::from_millis(300), ..DefaultTimeouts::default() };
    let served = Served::new(timeouts(short), &Draft::to(address));
    let mut client = served.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    ended.recv_timeout(crate::support::PATIENCE).expect("the endpoint's connection is closed");
}

#[test]
fn a_pipelined_head_has_its_time_after_the_answer_before_it() {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = socket.accept().unwrap();
        loop {
            if !matches!(stream.read(&mut [0; 1024]), Ok(1..)) {
                return;
            }
            thread::sleep(Duration::from_millis(1500));
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        }
    });
    let short = DefaultTimeouts { header_read: Duration::from_secs(1), ..DefaultTimeouts::default() };
    let served = Served::new(timeouts(short), &Draft::to(address));
    let mut client = served.client();
    client.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHo");
    assert_eq!(status(&client.response()), 200);
    client.send("st: a\r\n\r\n");
    assert_eq!(status(&client.response()), 200);
}

//! Bodies on the relay, and what ends an exchange: backpressure, early answers, clients that leave, timeouts.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use rust_ingress_model::{HostPattern, PathMatch, Rule, Timeouts};

use super::{GET, endpoint, head, served};
use crate::support::{Draft, PATIENCE, Served, header, options, rule, status};

#[test]
fn large_bodies_go_both_ways_with_backpressure() {
    let (address, _) = endpoint(|mut stream, _| {
        let head = head(&mut stream).unwrap();
        let length: usize = header(&head, "content-length").unwrap().parse().unwrap();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").unwrap();
        let mut buffer = vec![0; 30_000];
        let mut left = length;
        while left > 0 {
            let read = stream.read(&mut buffer).unwrap();
            stream.write_all(&buffer[..read]).unwrap();
            left -= read;
        }
        let _ = stream.read(&mut buffer);
    });
    let served = served(address);
    let mut client = served.client();
    let length = 20_000_000;
    let body: Vec<u8> = (0..length).map(|at: u32| (at % 251) as u8).collect();
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"));
    let mut writer = client.0.try_clone().unwrap();
    let sent = body.clone();
    let writing = thread::spawn(move || writer.write_all(&sent).unwrap());
    let mut answer = String::new();
    while !answer.ends_with("\r\n\r\n") {
        let mut byte = [0];
        client.0.read_exact(&mut byte).unwrap();
        answer.push(byte[0].into());
    }
    thread::sleep(Duration::from_millis(100));
    let mut got = vec![0; body.len()];
    client.0.read_exact(&mut got).unwrap();
    assert!(got == body, "what came back is what was sent");
    writing.join().unwrap();
}

#[test]
fn an_answer_before_the_end_of_the_body_is_seen_and_the_connection_ends() {
    let (address, _) = endpoint(|mut stream, _| {
        head(&mut stream);
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").unwrap();
    });
    let served = served(address);
    let mut client = served.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc");
    let answer = client.rest();
    assert!(status(&answer) == 403 && answer.ends_with("no"), "{answer}");
    assert_eq!(header(&answer, "connection"), Some("close"), "{answer}");
}

/// An endpoint that takes a request, answers with these bytes, and says when its connection has ended.
fn watching(answer: &'static str) -> (SocketAddr, Receiver<()>) {
    let (gone, ended) = channel();
    let gone = std::sync::Mutex::new(gone);
    let (address, _) = endpoint(move |mut stream, _| {
        head(&mut stream);
        stream.write_all(answer.as_bytes()).unwrap();
        while matches!(stream.read(&mut [0; 1024]), Ok(1..)) {}
        gone.lock().unwrap().send(()).unwrap();
    });
    (address, ended)
}

#[test]
fn a_client_that_goes_away_takes_its_request_with_it() {
    for answer in ["", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"] {
        let (address, ended) = watching(answer);
        let served = served(address);
        let mut client = served.client();
        client.send(GET);
        thread::sleep(Duration::from_millis(100));
        drop(client);
        ended.recv_timeout(PATIENCE).expect("the endpoint's connection is closed");
    }
}

fn timed(timeouts: Timeouts, address: SocketAddr) -> Served {
    let rule = Rule { timeouts, ..rule(PathMatch::Prefix("/".into())) };
    Served::new(options(), &Draft::to(address).host(HostPattern::Any, vec![rule]))
}

#[test]
fn timeouts_are_answered_by_their_kind() {
    let (silent, _) = watching("");
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab";
    for (timeouts, request, expected, kind) in [
        (Timeouts { response_headers_ms: Some(200), ..Timeouts::default() }, GET, 504, "response_timeout"),
        (Timeouts { request_ms: Some(200), ..Timeouts::default() }, GET, 504, "request_timeout"),
        (Timeouts { request_ms: Some(200), ..Timeouts::default() }, post, 504, "request_timeout"),
        (Timeouts { idle_ms: Some(200), ..Timeouts::default() }, post, 408, "sent nothing"),
    ] {
        let served = timed(timeouts, silent);
        let mut client = served.client();
        client.send(request);
        let answer = client.response();
        assert!(status(&answer) == expected && answer.contains(kind), "{kind}: {answer}");
    }
    let (stuck, _) = watching("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
    let served = timed(Timeouts { idle_ms: Some(200), ..Timeouts::default() }, stuck);
    let answer = served.raw(GET);
    assert!(answer.ends_with("abc"), "cut off: {answer}");
}

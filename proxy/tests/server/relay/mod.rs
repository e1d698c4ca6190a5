//! The relay: what it takes it serves as hyper would, what it doesn't it hands over with nothing lost. Endpoints here write
//! their header names in capitals: hyper's answers have them in lower case, the relay's as they came.

mod bodies;
mod endpoints;
mod responses;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

use rust_ingress_proxy::options::{AccessLog, Options};

use crate::support::{Client, Draft, Echo, Served, header, options};

/// An endpoint whose every connection is served by this function, with its number from 1.
fn endpoint(serve: impl Fn(TcpStream, usize) + Send + Sync + 'static) -> (SocketAddr, Arc<AtomicUsize>) {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let (count, serve) = (connections.clone(), Arc::new(serve));
    thread::spawn(move || {
        for stream in socket.incoming().flatten() {
            let (number, serve) = (count.fetch_add(1, SeqCst) + 1, serve.clone());
            thread::spawn(move || serve(stream, number));
        }
    });
    (address, connections)
}

/// Reads a request's head; `None` when the connection ends.
fn head(stream: &mut TcpStream) -> Option<String> {
    let (mut text, mut byte) = (Vec::new(), [0]);
    while !text.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => text.push(byte[0]),
            _ => return None,
        }
    }
    String::from_utf8(text).ok()
}

/// An endpoint that answers every request's head with these bytes; an answer without a length ends its connection.
fn answering(answer: &'static str) -> (SocketAddr, Arc<AtomicUsize>) {
    endpoint(move |mut stream, _| {
        while head(&mut stream).is_some() {
            let closes = answer.contains("Connection: close");
            if stream.write_all(answer.as_bytes()).is_err() || closes {
                return;
            }
        }
    })
}

/// One response, its body still as it is framed: by length, by chunks, or none.
fn framed(client: &mut Client, head_only: bool) -> String {
    let (mut text, mut byte) = (Vec::new(), [0]);
    let mut until = |text: &mut Vec<u8>, end: &[u8]| {
        while !text.ends_with(end) {
            assert_eq!(client.0.read(&mut byte).unwrap(), 1, "closed after {:?}", String::from_utf8_lossy(text));
            text.push(byte[0]);
        }
    };
    until(&mut text, b"\r\n\r\n");
    let seen = String::from_utf8(text.clone()).unwrap();
    if head_only {
        return seen;
    }
    if header(&seen, "transfer-encoding") == Some("chunked") {
        until(&mut text, b"0\r\n\r\n");
    } else if let Some(length) = header(&seen, "content-length") {
        let mut body = vec![0; length.parse().unwrap()];
        client.0.read_exact(&mut body).unwrap();
        text.extend_from_slice(&body);
    }
    String::from_utf8(text).unwrap()
}

fn served(address: SocketAddr) -> Served {
    Served::new(options(), &Draft::to(address))
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn plain_requests_are_relayed_and_others_handed_over_in_their_order() {
    let echo = Echo::new();
    let served = served(echo.address);
    let mut client = served.client();
    client.send(
        "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\
         POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /4 HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    for (path, relayed) in [("/1", true), ("/2", true), ("/3", false), ("/4", false)] {
        let answer = client.response();
        assert!(answer.contains(&format!("{path} HTTP/1.1\r\n")), "{path}: {answer}");
        assert_eq!(answer.contains("Content-Type: "), relayed, "{path}: {answer}");
        assert!(header(&answer, "date").is_some(), "{answer}");
    }
    assert_eq!(echo.count(), 4);
}

#[test]
fn a_trusted_proxys_word_is_kept_and_added_to() {
    let echo = Echo::new();
    let trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let served = Served::new(Options { trusted_proxies, send_forwarded: true, ..options() }, &Draft::to(echo.address));
    let mut client = served.client();
    client.send(
        "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: b\r\n\
         X-Request-Id: theirs\r\nX_Real_IP: 6.6.6.6\r\n\r\n",
    );
    let seen = client.response().split_once("\r\n\r\n").unwrap().1.to_ascii_lowercase();
    for line in [
        "x-forwarded-for: 203.0.113.9, 127.0.0.1",
        "x-forwarded-proto: https",
        "x-forwarded-host: b",
        "x-real-ip: 203.0.113.9",
        "x-request-id: theirs",
        "forwarded: for=127.0.0.1;host=\"a\";proto=http",
    ] {
        assert_eq!(seen.matches(&format!("\r\n{line}\r\n")).count(), 1, "{line}: {seen}");
    }
    assert!(!seen.contains("6.6.6.6") && seen.matches("x-forwarded-").count() == 4, "{seen}");
}

#[test]
fn the_access_log_says_of_a_relayed_request_what_it_says_of_any() {
    let echo = Echo::new();
    let file = std::env::temp_dir().join(format!("rust-ingress-relayed-{}.log", std::process::id()));
    let served = Served::new(Options { access_log: AccessLog::File(file.clone()), ..options() }, &Draft::to(echo.address));
    let mut client = served.client();
    client.send("POST /a?b HTTP/1.1\r\nHost: a.test\r\nUser-Agent: u\r\nContent-Length: 3\r\n\r\nabc");
    let relayed = client.response();
    client.send("POST /a?b HTTP/1.1\r\nHost: a.test\r\nUser-Agent: u\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    client.response();
    served.proxy.stop();
    let log = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let lines: Vec<&str> = log.lines().collect();
    assert!(lines.len() == 2 && relayed.contains("Content-Type"), "{log}");
    let keys = |line: &str| line.split("\",\"").count();
    assert_eq!(keys(lines[0]), keys(lines[1]), "the same fields: {log}");
    for said in [
        r#""method":"POST","host":"a.test","path":"/a","query":"b","protocol":"HTTP/1.1","status":200"#,
        r#""request_bytes":3"#,
        r#""user_agent":"u""#,
        r#""route_name":"web""#,
        r#""service_name":"web""#,
    ] {
        assert!(lines.iter().all(|line| line.contains(said)), "{said}: {log}");
    }
}

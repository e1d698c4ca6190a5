//! Upgrades: bytes flow both ways behind a 101, across swaps; a declined upgrade is an ordinary request.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use rust_ingress_proxy::options::{DefaultTimeouts, Options};

use crate::support::{Draft, Echo, Served, header, options, status};

/// An endpoint that takes every upgrade and then echoes bytes.
fn echoing() -> SocketAddr {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in socket.incoming().flatten() {
            thread::spawn(move || {
                let mut head = Vec::new();
                let mut buffer = [0; 1024];
                while !head.windows(4).any(|four| four == b"\r\n\r\n") {
                    head.push(0);
                    let end = head.len() - 1;
                    stream.read_exact(&mut head[end..]).unwrap();
                }
                let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
                assert!(text.contains("upgrade: chat\r\n") && text.contains("connection: upgrade\r\n"), "{text}");
                stream
                    .write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\nhello")
                    .unwrap();
                while let Ok(read @ 1..) = stream.read(&mut buffer) {
                    stream.write_all(&buffer[..read]).unwrap();
                }
            });
        }
    });
    address
}

const ASK: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: chat\r\n\r\n";

#[test]
fn bytes_flow_both_ways_and_survive_swaps() {
    let draft = Draft::to(echoing());
    let served = Served::new(options(), &draft);
    let mut client = served.client();
    // The first bytes of the new protocol come before the answer: they are no request.
    client.send([ASK.as_bytes(), b"early\n\0\xff"].concat());
    let answer = client.response();
    assert_eq!(status(&answer), 101, "{answer}");
    assert_eq!(header(&answer, "upgrade"), Some("chat"));
    let mut buffer = [0; 13];
    client.0.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"helloearly\n\0\xff");
    for round in 0..20u8 {
        draft.clone().listen("other", crate::support::listener()).publish(&served.proxy);
        draft.publish(&served.proxy);
        client.send([round; 1000]);
        let mut back = [0; 1000];
        client.0.read_exact(&mut back).unwrap();
        assert_eq!(back, [round; 1000]);
    }
}

#[test]
fn a_closed_side_closes_the_other() {
    let served = Served::new(options(), &Draft::to(echoing()));
    let mut client = served.client();
    client.send(ASK);
    assert_eq!(status(&client.response()), 101);
    client.0.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(client.rest(), "hello");
}

#[test]
fn a_silent_upgrade_is_closed_after_the_idle_timeout() {
    let timeouts = DefaultTimeouts { idle: Duration::from_millis(200), ..DefaultTimeouts::default() };
    let served = Served::new(Options { timeouts, ..options() }, &Draft::to(echoing()));
    let mut client = served.client();
    client.send(ASK);
    assert_eq!(status(&client.response()), 101);
    assert!(client.rest().starts_with("hello"));
}

#[test]
fn a_declined_upgrade_is_an_ordinary_request() {
    let echo = Echo::new();
    let served = Served::new(options(), &Draft::to(echo.address));
    let mut client = served.client();
    for _ in 0..3 {
        client.send(ASK);
        client.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = client.response().to_ascii_lowercase();
        assert!(status(&answer) == 200 && answer.contains("upgrade: chat"), "{answer}");
        assert!(client.response().contains("GET /next"));
    }
}

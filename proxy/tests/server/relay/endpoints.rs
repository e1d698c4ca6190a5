//! Connections with endpoints on the relay: reuse and its race, hyper beside it, the next endpoint.

use std::io::Read;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use rust_ingress_model::{Backend, Discovery, Part};
use rust_ingress_proxy::options::Options;

use super::{GET, endpoint, head, served};
use crate::support::{Draft, Echo, Served, backend_key, options, status};

/// An endpoint that answers once per connection, keeps it open, and closes it when another request comes.
fn closes_on_second() -> (SocketAddr, Arc<AtomicUsize>) {
    endpoint(|mut stream, _| {
        if head(&mut stream).is_some() {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
            head(&mut stream);
        }
    })
}

#[test]
fn the_reuse_race_is_lost_once_for_idempotent_requests_alone() {
    let (address, connections) = closes_on_second();
    let served = served(address);
    let mut client = served.client();
    for _ in 0..3 {
        client.send(GET);
        assert_eq!(status(&client.response()), 200);
    }
    assert_eq!(connections.load(SeqCst), 3, "each race was run again on a new connection");
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    let answer = client.response();
    assert!(status(&answer) == 502 && answer.contains("upstream_reset"), "it may have been seen: {answer}");
}

#[test]
fn connections_are_shared_with_hyper_and_an_end_while_idle_costs_nothing() {
    let (address, connections) = endpoint(|mut stream, number| {
        for _ in 0..4 {
            let Some(request) = head(&mut stream) else { return };
            if request.to_ascii_lowercase().contains("chunked") {
                let mut rest = [0; 13];
                stream.read_exact(&mut rest).unwrap();
            }
            stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}").as_bytes()).unwrap();
        }
    });
    let served = Served::new(Options { workers: 1, ..options() }, &Draft::to(address));
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    for (request, connection) in [(GET, "1"), (chunked, "1"), (GET, "1"), (chunked, "1")] {
        let mut client = served.client();
        client.send(request);
        assert!(client.response().ends_with(connection), "{request}");
    }
    thread::sleep(Duration::from_millis(50));
    let mut client = served.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert!(client.response().ends_with('2'), "the first connection has ended while it was idle");
    assert_eq!(connections.load(SeqCst), 2);
}

#[test]
fn a_refused_connection_is_tried_on_another_endpoint() {
    let echo = Echo::new();
    let gone = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let mut draft = Draft::to(echo.address);
    let mut backend = Backend::clone(draft.snapshot.backends.get(&backend_key()).unwrap());
    if let Discovery::Endpoints(all) = &mut backend.discovery {
        let mut refusing = all[0].clone();
        refusing.address = gone;
        all.push(refusing);
    }
    draft.snapshot.backends.insert(backend_key(), Part::new(backend));
    let served = Served::new(options(), &draft);
    for _ in 0..8 {
        let mut client = served.client();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
        let answer = client.response();
        assert!(status(&answer) == 200 && answer.ends_with("abc"), "{answer}");
    }
    let served = self::served(gone);
    let mut client = served.client();
    client.send(GET);
    let answer = client.response();
    assert!(status(&answer) == 502 && answer.contains("connect_failed"), "{answer}");
}

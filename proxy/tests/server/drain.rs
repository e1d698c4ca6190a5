//! Stopping: requests in flight end, waiting connections are served, and clients are told to leave.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use rust_ingress_proxy::observe::Readiness;
use rust_ingress_proxy::options::{Drain, Options};

use crate::support::{Client, Draft, Echo, Served, header, options, status};

#[test]
fn a_request_in_flight_ends_and_its_connection_closes() {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    let (arrived, seen) = channel();
    let (answer, answered) = channel::<()>();
    thread::spawn(move || {
        let (mut stream, _) = socket.accept().unwrap();
        arrived.send(()).unwrap();
        answered.recv().unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone").unwrap();
    });
    let served = Served::new(options(), &Draft::to(address));
    let mut client = served.client();
    client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    seen.recv().unwrap();
    let observer = served.proxy.observer().clone();
    let stopping = thread::spawn(move || served.proxy.stop());
    while observer.readiness() != Readiness::Draining {
        thread::yield_now();
    }
    answer.send(()).unwrap();
    let text = client.rest();
    assert!(status(&text) == 200 && text.ends_with("done"), "{text}");
    stopping.join().unwrap();
}

#[test]
fn idle_connections_close_and_the_port_is_free_afterwards() {
    let echo = Echo::new();
    let served = Served::new(options(), &Draft::to(echo.address));
    let address = served.address("http");
    let mut client = served.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(status(&client.response()), 200);
    served.proxy.stop();
    assert_eq!(client.rest(), "", "closed without another answer");
    TcpListener::bind(address).expect("the port is free");
}

#[test]
fn what_connects_before_the_close_is_served_and_told_to_leave() {
    let echo = Echo::new();
    let served = Served::new(options(), &Draft::to(echo.address));
    // Connected and silent: perhaps not even accepted when the drain begins.
    let mut clients: Vec<Client> = (0..50).map(|_| served.client()).collect();
    let observer = served.proxy.observer().clone();
    let stopping = thread::spawn(move || served.proxy.stop());
    while observer.readiness() != Readiness::Draining {
        thread::yield_now();
    }
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = client.response();
        assert_eq!(status(&answer), 200, "{answer}");
        assert_eq!(header(&answer, "connection"), Some("close"), "{answer}");
    }
    stopping.join().unwrap();
}

#[test]
fn during_the_drain_delay_connections_are_still_accepted() {
    let echo = Echo::new();
    let drain = Drain { delay: Duration::from_secs(2), timeout: Duration::from_secs(20) };
    let served = Served::new(Options { drain, ..options() }, &Draft::to(echo.address));
    let address = served.address("http");
    let observer = served.proxy.observer().clone();
    let stopping = thread::spawn(move || served.proxy.stop());
    while observer.readiness() != Readiness::Draining {
        thread::yield_now();
    }
    let mut late = Client::to(address);
    late.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(status(&late.response()), 200);
    stopping.join().unwrap();
}

#[test]
fn a_request_that_never_ends_is_cut_at_the_timeout() {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    let (arrived, seen) = channel();
    thread::spawn(move || {
        let held = socket.accept().unwrap();
        arrived.send(()).unwrap();
        thread::sleep(Duration::from_secs(60));
        drop(held);
    });
    let drain = Drain { delay: Duration::ZERO, timeout: Duration::from_millis(300) };
    let served = Served::new(Options { drain, ..options() }, &Draft::to(address));
    let mut client = served.client();
    client.send("GET /never HTTP/1.1\r\nHost: a\r\n\r\n");
    seen.recv().unwrap();
    served.proxy.stop();
    assert!(!client.rest().contains("200 OK"));
}

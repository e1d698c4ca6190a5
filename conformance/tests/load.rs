//! `conformance load` counts what it is served, each kind of failure under its own name.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use rust_ingress_conformance::load::{Arguments, Load, Outcome};

/// Serves every connection one answer; `None` closes it without one.
fn server(answer: Option<&'static str>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            if let Some(answer) = answer {
                let _ = stream.write_all(answer.as_bytes());
            }
        }
    });
    address
}

fn load(to: SocketAddr) -> Outcome {
    let arguments =
        Arguments { to: vec![to], host: "load.test".into(), path: "/".into(), kept: 2, fresh: 2, pause: 1, limit: 60 };
    let load = Load::start(Command::new(env!("CARGO_BIN_EXE_rust-ingress-conformance")), &arguments).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    load.stop().unwrap()
}

#[test]
fn answers_are_counted() {
    let outcome = load(server(Some("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")));
    assert!(outcome.answers > 0 && outcome.failed == 0, "{outcome:?}");
    assert!(outcome.reconnects > 0, "the kept ones were told to go: {outcome:?}");
}

#[test]
fn each_failure_has_its_name() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let cases = [
        (server(Some("HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\nno")), "status 503"),
        (server(None), "closed"),
        (gone, "refused"),
    ];
    for (address, kind) in cases {
        let outcome = load(address);
        assert!(outcome.answers == 0 && outcome.failures.get(kind).is_some_and(|count| *count > 0), "{kind}: {outcome:?}");
    }
}

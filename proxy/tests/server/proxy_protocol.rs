//! The PROXY protocol on listeners that ask for it, through the whole proxy.

use std::net::TcpStream;

use rust_ingress_model::Listener;

use crate::support::{Client, Draft, Echo, Served, listener, options, status};

fn served(echo: &Echo) -> Served {
    let asks = Listener { proxy_protocol: true, ..listener() };
    Served::new(options(), &Draft::to(echo.address).listen("http", asks))
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn both_versions_name_the_client() {
    let echo = Echo::new();
    let served = served(&echo);
    let v1 = b"PROXY TCP4 192.0.2.9 198.51.100.1 40000 8443\r\n".to_vec();
    let mut v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    v2.extend([192, 0, 2, 9, 198, 51, 100, 1, 0x9c, 0x40, 0x20, 0xfb]);
    for header in [v1, v2] {
        for pieces in [1, 3, header.len()] {
            let mut client = served.client();
            let all = [&header, REQUEST].concat();
            for piece in all.chunks(all.len().div_ceil(pieces)) {
                client.send(piece);
            }
            let answer = client.response().to_ascii_lowercase();
            assert_eq!(status(&answer), 200, "{answer}");
            assert!(
                answer.contains("x-forwarded-for: 192.0.2.9\r\n") && answer.contains("x-forwarded-port: 8443\r\n"),
                "{answer}"
            );
        }
    }
}

#[test]
fn a_local_connection_keeps_its_own_address() {
    let echo = Echo::new();
    let mut client = served(&echo).client_kept();
    client.send([b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".as_slice(), REQUEST].concat());
    assert!(client.response().to_ascii_lowercase().contains("x-forwarded-for: 127.0.0.1\r\n"));
}

#[test]
fn without_a_header_the_connection_is_closed() {
    let echo = Echo::new();
    let served = served(&echo);
    for bytes in [REQUEST, b"PROXY TCP9 x\r\n", b"PROXY TCP4 1.2.3.4\r\nGET / HTTP/1.1\r\n\r\n"] {
        let answer = served.raw(bytes);
        assert!(answer.is_empty() || answer == "<reset>", "{answer}");
    }
    assert_eq!(echo.count(), 0);
}

impl Served {
    /// A client of a proxy that lives as long as the process.
    fn client_kept(self) -> Client {
        let client = Client::to(self.address("http"));
        std::mem::forget(self);
        client
    }
}

#[test]
fn a_header_is_no_header_where_nobody_asks_for_it() {
    let echo = Echo::new();
    let served = Served::new(options(), &Draft::to(echo.address));
    let answer = served.raw("PROXY TCP4 192.0.2.9 198.51.100.1 40000 8443\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(status(&answer), 400, "{answer}");
    drop(TcpStream::connect(served.address("http")).expect("the listener goes on"));
}

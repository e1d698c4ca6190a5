//! Publishing: listeners come and go without touching others, ports in use are named, swaps leave connections alone.

use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use rust_ingress_model::{HostPattern, Listener, ListenerAddress, PathMatch};
use rust_ingress_proxy::Proxy;

use crate::support::{Client, Draft, Echo, PATIENCE, Served, listener, options, rule, status};

#[test]
fn a_swap_takes_effect_on_open_connections_at_once() {
    let (one, two) = (Echo::new(), Echo::new());
    let served = Served::new(options(), &Draft::to(one.address));
    let mut clients: Vec<Client> = (0..8).map(|_| served.client()).collect();
    for round in 1..=20 {
        let live = if round % 2 == 0 { &two } else { &one };
        Draft::to(live.address).publish(&served.proxy);
        let before = live.count();
        for client in &mut clients {
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(status(&client.response()), 200);
        }
        assert_eq!(live.count() - before, clients.len(), "round {round}: every request after publish sees the new table");
    }
}

#[test]
fn listeners_come_and_go_without_touching_others() {
    let echo = Echo::new();
    let draft = Draft::to(echo.address);
    let served = Served::new(options(), &draft);
    let mut first = served.client();
    first.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(status(&first.response()), 200);
    draft.clone().listen("second", listener()).publish(&served.proxy);
    let second = served.address("second");
    let mut on_second = Client::to(second);
    on_second.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(status(&on_second.response()), 200);
    draft.publish(&served.proxy);
    assert_eq!(on_second.rest(), "", "an idle connection of the removed listener is closed");
    let deadline = std::time::Instant::now() + PATIENCE;
    while TcpStream::connect(second).is_ok() {
        assert!(std::time::Instant::now() < deadline, "the removed listener is closed");
    }
    first.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(status(&first.response()), 200, "the other listener's connection lives on");
}

#[test]
fn a_port_in_use_is_named_and_all_else_is_live() {
    let echo = Echo::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let draft = Draft::to(echo.address).listen("taken", Listener { port, ..listener() });
    let proxy = Proxy::start(options()).unwrap();
    let faults = proxy.publish(Arc::new(draft.snapshot.clone()), &draft.keys);
    let text = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert!(
        faults.len() == 1
            && text.contains(&format!("127.0.0.1:{port}"))
            && text.contains("taken")
            && text.contains("another program"),
        "{text}"
    );
    let served = Served { proxy };
    assert_eq!(status(&served.raw("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")), 200);
    drop(taken);
    draft.publish(&served.proxy);
    assert_eq!(served.address("taken").port(), port, "opened by the next publish once the port is free");
}

#[test]
fn two_proxies_do_not_share_a_port_unnoticed() {
    let echo = Echo::new();
    let first = Served::new(options(), &Draft::to(echo.address));
    let port = first.address("http").port();
    let second = Proxy::start(options()).unwrap();
    let draft = Draft::to(echo.address).listen("http", Listener { port, ..listener() });
    assert_eq!(second.publish(Arc::new(draft.snapshot.clone()), &draft.keys).len(), 1);
}

#[test]
fn any_address_takes_both_families() {
    let echo = Echo::new();
    let any = Listener { address: ListenerAddress::Any, ..listener() };
    let served = Served::new(options(), &Draft::to(echo.address).listen("http", any));
    let port = served.address("http").port();
    for ip in [SocketAddr::from(([127, 0, 0, 1], port)), SocketAddr::from((Ipv6Addr::LOCALHOST, port))] {
        let mut client = Client::to(ip);
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = client.response().to_ascii_lowercase();
        assert!(answer.contains(&format!("x-forwarded-for: {}\r\n", ip.ip())), "{answer}");
    }
}

#[test]
fn routes_change_without_their_listener() {
    let echo = Echo::new();
    let draft = Draft::default().listen("http", listener()).endpoint(echo.address);
    let served = Served::new(options(), &draft);
    let request = "GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let mut client = served.client();
    client.send(request);
    assert_eq!(status(&client.response()), 404);
    draft.host(HostPattern::Exact("a.example".into()), vec![rule(PathMatch::Exact("/x".into()))]).publish(&served.proxy);
    client.send(request);
    assert_eq!(status(&client.response()), 200);
}

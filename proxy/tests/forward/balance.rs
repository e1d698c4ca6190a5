//! Who gets a request: weights, least request of two, round robin, endpoints left out.

use std::time::Duration;

use http::Response;
use rust_ingress_model::backend::Balance;
use rust_ingress_model::filter::HeaderChange;
use rust_ingress_model::{AppProtocol, Filter, NativeFilter, Part};

use tokio::io::AsyncWriteExt;

use crate::rig::*;

#[test]
fn weights_divide_the_requests_and_0_gets_none() {
    run(async {
        let servers = [Server::named("a").await, Server::named("b").await, Server::named("c").await];
        let mut plan = Plan::to(&[]);
        plan.rule.backends.clear();
        for (server, (key, weight)) in servers.iter().zip([("default/a:80", 9), ("default/b:80", 1), ("default/c:80", 0)]) {
            plan.snapshot.backends.insert(key.parse().unwrap(), Part::new(backend(AppProtocol::Http, &[server.address])));
            plan.rule.backends.push(service(key, weight));
        }
        let front = Front::start(plan);
        let mut client = Client::h1(&front).await;
        for _ in 0..500 {
            client.send(request("GET", "")).await;
        }
        let (a, b, c) = (servers[0].requests(), servers[1].requests(), servers[2].requests());
        // 50 expected, standard deviation 6.7: seven of them either way.
        assert!(a + b == 500 && c == 0 && (3..=97).contains(&b), "{a} {b} {c}");
    });
}

#[test]
fn round_robin_takes_one_after_another() {
    run(async {
        let servers = [Server::named("a").await, Server::named("b").await, Server::named("c").await];
        let mut backend = backend(AppProtocol::Http, &servers.each_ref().map(|server| server.address));
        backend.balance = Balance::RoundRobin;
        let front = Front::start(Plan::backend(backend));
        for _ in 0..30 {
            get(&front).await;
        }
        assert_eq!(servers.map(|server| server.requests()), [10, 10, 10]);
    });
}

#[test]
fn least_request_avoids_an_endpoint_that_is_slow() {
    run(async {
        let slow = Server::start(|_| async {
            tokio::time::sleep(PATIENCE).await;
            Response::new(full("slow"))
        })
        .await;
        let quick = Server::named("quick").await;
        let front = Front::start(Plan::to(&[slow.address, quick.address]));
        let mut first = Vec::new();
        while slow.requests() == 0 {
            // One of them gets stuck; the others are answered.
            let address = front.address;
            first.push(tokio::spawn(async move {
                let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
                stream.write_all(b"GET / HTTP/1.1\r\nhost: web.test\r\n\r\n").await.unwrap();
                tokio::time::sleep(PATIENCE).await;
                drop(stream);
            }));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let stuck = slow.requests();
        let mut client = Client::h1(&front).await;
        for _ in 0..50 {
            assert_eq!(client.send(request("GET", "")).await.text(), "quick");
        }
        assert_eq!(slow.requests(), stuck);
        drop(first);
    });
}

#[test]
fn an_endpoint_that_refuses_connections_is_left_out_for_a_while() {
    run(async {
        let server = Server::named("ok").await;
        let front = Front::start(Plan::to(&[refusing().await, server.address]));
        let mut retries = 0;
        for _ in 0..40 {
            retries += get(&front).await.header("x-retries").parse::<u32>().unwrap();
        }
        // Once per second of its first ejections; a machine that stands still for a while may see a few more.
        assert!((1..=4).contains(&retries), "{retries}");
        let alone = Front::start(Plan::to(&[refusing().await]));
        for _ in 0..3 {
            assert_eq!(get(&alone).await.header("x-fault"), "connect_failed", "the last one is still tried");
        }
    });
}

#[test]
fn filters_of_the_drawn_backend_apply_to_it_alone() {
    run(async {
        let server = Server::named("ok").await;
        let change = |name: &str| HeaderChange { set: vec![(name.into(), "1".into())], ..HeaderChange::default() };
        let plan = Plan::to(&[server.address]).rule(|rule| {
            rule.backends[0].filters = vec![
                Filter::Native(NativeFilter::RequestHeaders(change("x-to"))),
                Filter::Native(NativeFilter::ResponseHeaders(change("x-from"))),
            ];
        });
        let got = get(&Front::start(plan)).await;
        assert_eq!(got.header("x-from"), "1");
        assert_eq!(server.seen.lock().unwrap()[0].headers["x-to"], "1");
    });
}

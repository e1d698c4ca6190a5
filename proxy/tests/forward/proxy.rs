//! Through the whole proxy: WebSocket, and calls with two streams at once, over a swap of tables.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use rust_ingress_model::{AppProtocol, HostPattern, KeyStore, Listener, ListenerAddress, Part, RouteSet, Snapshot, VirtualHost};
use rust_ingress_proxy::Proxy;
use rust_ingress_proxy::options::Options;
use tokio_tungstenite::tungstenite::Message;

use crate::plain::futures_channel;
use crate::rig::*;

/// A proxy with one plain listener; what `change` adds to the snapshot makes it another one.
struct Served(Option<Proxy>);

impl Served {
    fn start() -> Self {
        Self(Some(Proxy::start(Options { workers: 1, ..Options::default() }).unwrap()))
    }

    fn proxy(&self) -> &Proxy {
        self.0.as_ref().unwrap()
    }

    fn publish(&self, protocol: AppProtocol, endpoints: &[SocketAddr]) -> SocketAddr {
        let plan = Plan::backend(backend(protocol, endpoints));
        let listener = Listener::http(ListenerAddress::Ip(Ipv4Addr::LOCALHOST.into()), 0, "ingress".into());
        let mut snapshot = Snapshot { backends: plan.snapshot.backends, ..Snapshot::default() };
        snapshot.listeners.insert("http".into(), Part::new(listener));
        let mut routes = RouteSet::default();
        routes.hosts.insert(HostPattern::Any, Part::new(VirtualHost { host: HostPattern::Any, rules: vec![plan.rule] }));
        snapshot.route_sets.insert("ingress".into(), routes);
        assert!(self.proxy().publish(Arc::new(snapshot), &KeyStore::default()).is_empty());
        self.proxy().bound()[0].1
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let proxy = self.0.take();
        // It waits for its threads, which a test's runtime must not do.
        std::thread::spawn(move || proxy.map(Proxy::stop));
    }
}

/// An endpoint that sends every WebSocket message back.
async fn websocket() -> SocketAddr {
    raw(|stream, _| async move {
        let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() && socket.send(message).await.is_err() {
                return;
            }
        }
    })
    .await
}

#[test]
fn a_websocket_carries_messages_over_a_swap() {
    run(async {
        let (first, second) = (websocket().await, websocket().await);
        let served = Served::start();
        let address = served.publish(AppProtocol::Http, &[first]);
        let (mut socket, response) = tokio_tungstenite::connect_async(format!("ws://{address}/chat")).await.unwrap();
        assert_eq!(response.status(), 101);
        for number in 0..20 {
            if number == 10 {
                served.publish(AppProtocol::Http, &[second]);
            }
            let message = Message::text(format!("{number} {}", "x".repeat(number * 1000)));
            socket.send(message.clone()).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap(), message);
        }
        socket.close(None).await.unwrap();
    });
}

#[test]
fn a_call_with_two_streams_goes_on_over_a_swap() {
    run(async {
        let echo = || {
            Server::start(|request: Request<hyper::body::Incoming>| async move {
                Response::new(request.into_body().map_err(Into::into).boxed())
            })
        };
        let (first, second) = (echo().await, echo().await);
        let served = Served::start();
        let address = served.publish(AppProtocol::H2c, &[first.address]);
        let (sender, receiver) = futures_channel();
        let call = Request::post("http://web.test/call").header("te", "trailers").body(StreamBody::new(receiver)).unwrap();
        let mut response = Client::h2_to(address).await.open(call).await;
        for number in 0..20 {
            if number == 10 {
                served.publish(AppProtocol::H2c, &[second.address]);
            }
            sender.send(Ok(Frame::data(Bytes::from(format!("message {number}"))))).unwrap();
            let frame = response.body_mut().frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), format!("message {number}"));
        }
        let mut sums = http::HeaderMap::new();
        sums.insert("x-sum", "1".parse().unwrap());
        sender.send(Ok(Frame::trailers(sums))).unwrap();
        drop(sender);
        assert_eq!(response.into_body().collect().await.unwrap().trailers().unwrap()["x-sum"], "1");
        assert_eq!((first.requests(), second.requests()), (1, 0));
    });
}

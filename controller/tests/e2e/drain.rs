//! SIGTERM and SIGINT: what is in flight is finished, then the program ends with status 0.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::StreamBody;
use hyper::Request;
use hyper::body::Frame;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::client::{Answer, Ask, ask};
use crate::program::{PATIENCE, Program, repository};

async fn a_request_in_flight_is_finished(signal: i32) {
    let program = Program::start(&repository().join("examples/quickstart"), &[]);
    assert_eq!(ask(Ask { path: "/readyz", ..Ask::plain(program.health) }).await.status, 200);
    let stream = TcpStream::connect(program.http).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let (body, mut frames) = mpsc::channel::<Frame<Bytes>>(1);
    let receiver = futures_util::stream::poll_fn(move |cx| frames.poll_recv(cx).map(|frame| frame.map(Ok::<_, Infallible>)));
    let request = Request::post("/upload").header("host", "a.test").body(StreamBody::new(receiver)).unwrap();
    let answer = tokio::spawn(sender.send_request(request));
    body.send(Frame::data(Bytes::from_static(b"first "))).await.unwrap();
    let start = Instant::now();
    // The backend has the request when it is in flight at an endpoint; what tells is the metric.
    loop {
        let metrics = ask(Ask { path: "/metrics", ..Ask::plain(program.health) }).await.body;
        if metrics.lines().any(|line| line.starts_with("rust_ingress_upstream_connections_open") && line.ends_with(" 1")) {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "no upstream connection: {metrics}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    program.signal(signal);
    program.wait_for_log("draining");
    body.send(Frame::data(Bytes::from_static(b"second"))).await.unwrap();
    drop(body);
    let answer = Answer::of(answer.await.unwrap().expect("what is in flight is finished")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["bodyBytes"], 12);
    let (status, _) = program.wait();
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn sigterm_finishes_what_is_in_flight() {
    a_request_in_flight_is_finished(15).await;
}

#[tokio::test]
async fn sigint_finishes_what_is_in_flight() {
    a_request_in_flight_is_finished(2).await;
}

//! One connection: PROXY protocol, TLS, which HTTP it speaks, relay or hyper, and when it ends.
//!
//! Called by `accept` as a task of its own. Time is kept by one timer per connection that is moved only when it fires or
//! must fire earlier: a timer per request costs more than the request's routing.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Sleep;

use crate::gate::wire::Wire;
use crate::lifecycle;
use crate::relay::{self, Left};
use crate::server::bytes;
use crate::server::client::{Client, Due};
use crate::server::core::Permit;
use crate::server::door::Door;
use crate::server::io::Io;
use crate::server::link::Link;
use crate::server::open::{Opened, Opening, open};
use crate::server::signal::Ear;

/// How long a connection that shall end may idle before it is dropped.
const ENDING: Duration = Duration::from_secs(5);

/// Serves a connection to its end.
pub async fn run(door: Rc<Door>, stream: TcpStream, peer: SocketAddr, permit: Permit) {
    let options = &door.core.shared.options;
    let opened = tokio::time::timeout(options.timeouts.header_read, Box::pin(open(&door, stream, peer))).await;
    let Opened { stream, facts, prefix, h2 } = match opened {
        Ok(Some(Opening::Http(opened))) => opened,
        Ok(Some(Opening::Bytes(stream, facts))) => {
            Box::pin(bytes::carry(&door, stream, facts)).await;
            return drop(permit);
        }
        _ => return,
    };
    let link = Arc::new(Link::new(Instant::now()));
    let client = Client::new(door.core.clone(), facts, link.clone(), h2, permit);
    if h2 {
        return Box::pin(serve_h2(client, Io::new(stream, None, link, prefix, 0), &door)).await;
    }
    let wire = || Wire::new(options.limits.head_bytes, options.limits.headers);
    // Boxed, and gone before hyper begins.
    match Box::pin(relay::run(client.clone(), stream, prefix, &door)).await {
        Left::Ended => {}
        Left::Lingers(stream) => {
            link.linger();
            // It has been answered; what goes wrong now is nobody's.
            let _ = Io::new(stream, Some(wire()), link, Vec::new(), 0).shutdown().await;
        }
        Left::ToHyper(stream, bytes) => {
            let io = Io::new(stream, Some(wire()), link, bytes, client.served());
            Box::pin(serve_h1(client, io, &door)).await;
        }
    }
}

/// Serves HTTP/1.
async fn serve_h1(client: Rc<Client>, io: Io, door: &Rc<Door>) {
    let limits = &client.core.shared.options.limits;
    let mut builder = http1::Builder::new();
    builder.header_read_timeout(None).pipeline_flush(true);
    if limits.headers > 100 {
        builder.max_headers(limits.headers + 1);
    }
    if limits.head_bytes > 256 << 10 {
        builder.max_buf_size(limits.head_bytes * 2);
    }
    let of = client.clone();
    let service = service_fn(move |request| lifecycle::serve(of.clone(), request));
    let connection = pin!(builder.serve_connection(TokioIo::new(io), service).with_upgrades());
    drive(connection, &client, door).await;
}

/// Serves HTTP/2.
async fn serve_h2(client: Rc<Client>, io: Io, door: &Rc<Door>) {
    let limits = &client.core.shared.options.limits;
    let mut builder = http2::Builder::new(Local);
    builder
        .max_concurrent_streams(limits.h2_streams)
        .initial_stream_window_size(limits.h2_stream_window)
        .initial_connection_window_size(limits.h2_connection_window)
        .max_pending_accept_reset_streams(limits.h2_pending_resets)
        .max_local_error_reset_streams(limits.h2_pending_resets)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX));
    let of = client.clone();
    let service = service_fn(move |request| lifecycle::serve(of.clone(), request));
    let connection = pin!(builder.serve_connection(TokioIo::new(io), service));
    drive(connection, &client, door).await;
}

/// hyper's way to spawn: onto this core.
#[derive(Debug, Clone, Copy)]
struct Local;

impl<F: Future + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}

/// A hyper connection that can be told to end.
trait Ending: Future<Output = hyper::Result<()>> {
    /// No more requests than those in flight: GOAWAY, `Connection: close`.
    fn end(self: Pin<&mut Self>);
}

impl<S, B> Ending for http1::UpgradeableConnection<TokioIo<Io>, S>
where
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: http_body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn end(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S, B> Ending for http2::Connection<TokioIo<Io>, S, Local>
where
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: 'static,
    B: http_body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn end(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Drives a connection until it ends by itself, is told to, or its time is up.
async fn drive<C: Ending>(mut connection: Pin<&mut C>, client: &Client, door: &Rc<Door>) {
    let mut pace = Pace {
        ear: Ear::new(&door.ending),
        timer: pin!(tokio::time::sleep(Duration::from_secs(3600))),
        armed: None,
        ending: None,
    };
    let result = std::future::poll_fn(|cx| pace.poll(connection.as_mut(), client, cx)).await;
    if let Err(error) = result {
        tracing::debug!(client = %client.facts.peer, listener = %door.name, %error, "connection ended early");
    }
}

/// When a connection ends.
struct Pace<'p> {
    ear: Ear,
    timer: Pin<&'p mut Sleep>,
    /// When the timer fires; `None`: it isn't waited for.
    armed: Option<Instant>,
    /// Since when the connection shall end.
    ending: Option<Instant>,
}

impl Pace<'_> {
    fn poll<C: Ending>(&mut self, mut connection: Pin<&mut C>, client: &Client, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                return Poll::Ready(result.map_err(io::Error::other));
            }
            self.ear.listen(cx.waker());
            // A head that has begun to come is waited for: ending now would lose it.
            if self.ear.is_raised() && self.ending.is_none() && client.link.partial_head_since().is_none() {
                self.end(connection.as_mut());
                continue;
            }
            let Some((at, due)) = self.due(client) else { return Poll::Pending };
            if self.armed.is_none_or(|armed| at < armed) {
                self.arm(at);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.armed = None;
            if Instant::now() < at {
                continue;
            }
            match due {
                Due::Head => client.link.expire(),
                Due::End => self.end(connection.as_mut()),
                Due::Drop => return Poll::Ready(Ok(())),
            }
        }
    }

    /// What is due next; a connection that shall end has less time to idle.
    fn due(&self, client: &Client) -> Option<(Instant, Due)> {
        match (client.due()?, self.ending) {
            ((_, Due::End), Some(since)) => Some((since.max(client.idle_since()) + ENDING, Due::Drop)),
            (due, _) => Some(due),
        }
    }

    fn arm(&mut self, at: Instant) {
        self.armed = Some(at);
        self.timer.as_mut().reset(at.into());
    }

    fn end<C: Ending>(&mut self, connection: Pin<&mut C>) {
        self.ending = Some(Instant::now());
        connection.end();
    }
}

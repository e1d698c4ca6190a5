//! HTTP/1 connections to endpoints, driven by whoever uses them.
//!
//! hyper's connection is a future of its own. It isn't spawned as a task: the request polls it while it waits for
//! the response's head, and the response's body polls it while it is read. That saves a task, its wake-ups and a
//! channel hop per request. Once the body has ended, the connection goes back to its endpoint.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;

use super::endpoint::Lease;
use super::h2::H2Lease;
use super::idle::{Idle, Raw};
use super::stream::Stream;
use crate::body::Body;
use crate::fault::{Kind, RequestFault};
use crate::observe::UpstreamMetrics;

type Connection = hyper::client::conn::http1::Connection<TokioIo<Stream>, Body>;

/// Counts a connection while it stands.
pub(super) struct Open(Arc<UpstreamMetrics>);

impl Open {
    /// Of a connection that is counted already.
    pub(super) fn new(metrics: Arc<UpstreamMetrics>) -> Self {
        Self(metrics)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.closed();
    }
}

/// One connection.
pub(crate) struct H1 {
    sender: SendRequest<Body>,
    driver: Driver,
    pub(super) idle_since: Instant,
}

/// Who polls the connection.
#[expect(clippy::large_enum_variant, reason = "nearly all are inline, and they are boxed with their H1")]
enum Driver {
    /// Whoever uses it.
    Inline(Connection, Open),
    /// A task of its own, because it may be upgraded; it carries one request only.
    Task,
    /// Nobody: it has ended and must not be polled again.
    Ended,
}

impl Driver {
    /// Moves bytes.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if let Self::Inline(connection, _) = self
            && Pin::new(connection).poll(cx).is_ready()
        {
            *self = Self::Ended;
        }
    }
}

impl H1 {
    /// Has hyper speak HTTP/1 over a connection. `head_bytes`: the largest response head.
    pub(crate) async fn new(raw: Raw, head_bytes: usize) -> hyper::Result<Box<Self>> {
        let Raw { stream, open, .. } = raw;
        let (sender, connection) = Builder::new().max_buf_size(head_bytes.max(8192)).handshake(TokioIo::new(stream)).await?;
        Ok(Box::new(Self { sender, driver: Driver::Inline(connection, open), idle_since: Instant::now() }))
    }

    /// Before a request that asks for an upgrade: hyper hands the stream over only from a future of its own kind.
    pub(crate) fn detach(&mut self) {
        if let Driver::Inline(connection, open) = std::mem::replace(&mut self.driver, Driver::Task) {
            tokio::task::spawn_local(async move {
                // A failure reaches whoever waits for the response or the stream.
                let _ = connection.with_upgrades().await;
                drop(open);
            });
        }
    }

    /// Sends a request and waits for the response's head.
    ///
    /// # Errors
    /// hyper's, with the request when nothing of it was sent.
    pub(crate) async fn send(&mut self, request: Request<Body>) -> Result<Response<Incoming>, TrySendError<Request<Body>>> {
        let mut head = pin!(self.sender.try_send_request(request));
        let driver = &mut self.driver;
        std::future::poll_fn(move |cx| {
            driver.drive(cx);
            match driver {
                Driver::Task => head.as_mut().poll(cx),
                // Only we move the connection on, so nothing else could wake us.
                Driver::Inline(..) | Driver::Ended => head.as_mut().poll(&mut Context::from_waker(Waker::noop())),
            }
        })
        .await
    }

    /// Whether an idle connection still stands.
    pub(super) fn alive(&mut self) -> bool {
        self.driver.drive(&mut Context::from_waker(Waker::noop()));
        matches!(self.driver, Driver::Inline(..)) && self.sender.is_ready()
    }

    /// After a response: back to its endpoint, if it can carry another request.
    pub(crate) fn release(mut self: Box<Self>, lease: &Lease) {
        if self.alive() {
            self.idle_since = Instant::now();
            lease.endpoint().put_idle(Idle::Hyper(self));
        }
    }

    /// The connection without hyper; `None` when it has ended, or the endpoint has sent what nobody asked for.
    pub(super) fn into_raw(self) -> Option<Raw> {
        let Driver::Inline(connection, open) = self.driver else { return None };
        let parts = connection.into_parts();
        parts.read_buf.is_empty().then(|| Raw { stream: parts.io.into_inner(), open, idle_since: self.idle_since })
    }
}

impl std::fmt::Debug for H1 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("H1").field("idle_since", &self.idle_since).finish_non_exhaustive()
    }
}

/// What carries a response's body.
enum Carrier {
    /// A connection of its own, driven by the body.
    H1(Box<H1>, Lease),
    /// A stream of a shared connection.
    H2 { _stream: H2Lease, _lease: Lease },
    /// Nothing any more.
    Gone,
}

/// A response's body as the endpoint sends it.
pub(crate) struct ResponseStream {
    incoming: Incoming,
    carrier: Carrier,
}

impl ResponseStream {
    /// Over HTTP/1.
    pub(crate) fn h1(incoming: Incoming, connection: Box<H1>, lease: Lease) -> Self {
        Self { incoming, carrier: Carrier::H1(connection, lease) }
    }

    /// Over HTTP/2.
    pub(crate) fn h2(incoming: Incoming, stream: H2Lease, lease: Lease) -> Self {
        Self { incoming, carrier: Carrier::H2 { _stream: stream, _lease: lease } }
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, RequestFault>>> {
        let frame = match &mut self.carrier {
            Carrier::H1(connection, _) => inline(&mut self.incoming, &mut connection.driver, cx),
            Carrier::H2 { .. } | Carrier::Gone => Pin::new(&mut self.incoming).poll_frame(cx).map_err(Some),
        };
        let frame = std::task::ready!(frame).map(|frame| {
            frame.map_err(|error| match error {
                Some(error) => cut_off().source(error),
                None => cut_off(),
            })
        });
        match &frame {
            Some(Ok(_)) if !self.incoming.is_end_stream() => {}
            Some(Err(_)) => self.carrier = Carrier::Gone,
            _ => self.release(),
        }
        Poll::Ready(frame)
    }

    /// The body has ended: its connection may carry another request. It is closed if it can't, or if the request's
    /// body hasn't ended yet.
    fn release(&mut self) {
        if let Carrier::H1(connection, lease) = std::mem::replace(&mut self.carrier, Carrier::Gone) {
            connection.release(&lease);
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// Reads a body whose connection is driven here.
fn inline(
    incoming: &mut Incoming,
    driver: &mut Driver,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, Option<hyper::Error>>>> {
    if matches!(driver, Driver::Task) {
        return Pin::new(incoming).poll_frame(cx).map_err(Some);
    }
    let mut quiet = Context::from_waker(Waker::noop());
    if let Poll::Ready(frame) = Pin::new(&mut *incoming).poll_frame(&mut quiet) {
        return Poll::Ready(frame.map(|frame| frame.map_err(Some)));
    }
    driver.drive(cx);
    match Pin::new(incoming).poll_frame(&mut quiet) {
        Poll::Pending if matches!(driver, Driver::Ended) => Poll::Ready(Some(Err(None))),
        frame => frame.map_err(Some),
    }
}

/// A response's body didn't come whole.
pub(crate) fn cut_off() -> RequestFault {
    RequestFault::new(Kind::StreamBroken, "the endpoint's response broke off before its end; see the endpoint's log")
}

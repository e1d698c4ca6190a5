//! HTTP/2 connections to endpoints: shared by requests, as many as the endpoint's limit on streams asks for.
//!
//! A connection carries requests until it is full or the endpoint says goodbye (GOAWAY); then another one is made.
//! Requests that come while one is being made wait for it. Used by `forward`.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use hyper::client::conn::http2::{Builder, Connection, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Notify;

use super::h1::Open;
use super::stream::Stream;
use crate::body::Body;
use crate::observe::UpstreamMetrics;
use crate::options::Limits;

/// The connections to one endpoint.
#[derive(Debug, Default)]
pub(crate) struct H2Pool {
    connections: RefCell<Vec<Rc<H2>>>,
    connecting: Cell<bool>,
    made: Notify,
}

/// One connection.
struct H2 {
    sender: SendRequest<Body>,
    state: Rc<State>,
    active: Cell<usize>,
    idle_since: Cell<Instant>,
}

impl std::fmt::Debug for H2 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("H2").field("active", &self.active).finish_non_exhaustive()
    }
}

/// What the connection's own task tells of it.
struct State {
    /// Streams that the endpoint takes at once.
    streams: Cell<usize>,
    /// It takes no more requests.
    closed: Cell<bool>,
}

/// A place on a connection, given back when dropped.
#[derive(Debug)]
pub(crate) struct H2Lease(Rc<H2>);

impl H2Lease {
    fn new(connection: &Rc<H2>) -> Self {
        connection.active.set(connection.active.get() + 1);
        Self(connection.clone())
    }

    /// To send on.
    pub(crate) fn sender(&self) -> SendRequest<Body> {
        self.0.sender.clone()
    }

    /// A request on it failed: new ones go elsewhere.
    pub(crate) fn retire(&self) {
        self.0.state.closed.set(true);
    }
}

impl Drop for H2Lease {
    fn drop(&mut self) {
        self.0.active.set(self.0.active.get().saturating_sub(1));
        self.0.idle_since.set(Instant::now());
    }
}

/// Whoever holds it makes the next connection; waiting requests go on when it is dropped.
#[derive(Debug)]
pub(crate) struct Making<'a>(&'a H2Pool);

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.0.connecting.set(false);
        self.0.made.notify_waiters();
    }
}

/// What a request gets that asks for a connection.
pub(crate) enum Place<'a> {
    /// A place on one that stands.
    Ready(H2Lease),
    /// The task of making one.
    Make(Making<'a>),
}

impl H2Pool {
    /// A place on a connection, or leave to make one; waits while another request makes one.
    pub(crate) async fn place(&self) -> Place<'_> {
        loop {
            if let Some(lease) = self.ready() {
                return Place::Ready(lease);
            }
            let made = self.made.notified();
            if !self.connecting.replace(true) {
                return Place::Make(Making(self));
            }
            made.await;
        }
    }

    fn ready(&self) -> Option<H2Lease> {
        let mut connections = self.connections.borrow_mut();
        connections.retain(|one| !one.state.closed.get() && one.sender.is_ready());
        connections.iter().find(|one| one.active.get() < one.state.streams.get()).map(H2Lease::new)
    }

    /// Closes connections that are dead, or idle since before `since`. Says whether any is left.
    pub(super) fn sweep(&self, since: Option<Instant>) -> bool {
        let mut connections = self.connections.borrow_mut();
        connections.retain(|one| {
            let idle = one.active.get() == 0 && since.is_some_and(|since| one.idle_since.get() <= since);
            !one.state.closed.get() && one.sender.is_ready() && !idle
        });
        !connections.is_empty()
    }
}

impl Making<'_> {
    /// Speaks HTTP/2 over a stream and shares the connection.
    ///
    /// # Errors
    /// hyper's, when the stream doesn't take the preface.
    pub(crate) async fn finish(self, stream: Stream, limits: &Limits, metrics: Arc<UpstreamMetrics>) -> hyper::Result<H2Lease> {
        let open = Open::new(metrics);
        let (sender, connection) = Builder::new(LocalExecutor)
            .timer(TokioTimer::new())
            .initial_stream_window_size(limits.h2_stream_window)
            .initial_connection_window_size(limits.h2_connection_window)
            .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
            .handshake(TokioIo::new(stream))
            .await?;
        let state = Rc::new(State { streams: Cell::new(connection.current_max_send_streams()), closed: Cell::new(false) });
        tokio::task::spawn_local(Driver { connection, state: state.clone(), _open: open });
        let connection = Rc::new(H2 { sender, state, active: Cell::new(0), idle_since: Cell::new(Instant::now()) });
        let lease = H2Lease::new(&connection);
        self.0.connections.borrow_mut().push(connection);
        Ok(lease)
    }
}

/// The connection's own task: all requests on it share it, so none can drive it alone.
struct Driver {
    connection: Connection<TokioIo<Stream>, Body, LocalExecutor>,
    state: Rc<State>,
    _open: Open,
}

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let ended = Pin::new(&mut this.connection).poll(cx);
        this.state.streams.set(this.connection.current_max_send_streams());
        if ended.is_ready() {
            this.state.closed.set(true);
        }
        ended.map(drop)
    }
}

/// Runs hyper's tasks on this core.
#[derive(Debug, Clone, Copy)]
struct LocalExecutor;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

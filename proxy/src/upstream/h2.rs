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
    /// Streams that the endpoint took at once when it last said so; 0 before.
    streams: Rc<Cell<usize>>,
}

/// One connection.
struct H2 {
    sender: SendRequest<Body>,
    /// Shared with its task: what the endpoint's settings say is asked of it when it counts.
    connection: Rc<RefCell<H2Connection>>,
    /// It takes no more requests.
    closed: Rc<Cell<bool>>,
    /// The endpoint's settings have come: they precede its first response.
    settled: Cell<bool>,
    /// The pool's.
    streams: Rc<Cell<usize>>,
    active: Cell<usize>,
    idle_since: Cell<Instant>,
}

impl std::fmt::Debug for H2 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("H2").field("active", &self.active).finish_non_exhaustive()
    }
}

type H2Connection = Connection<TokioIo<Stream>, Body, LocalExecutor>;

impl H2 {
    fn usable(&self) -> bool {
        !self.closed.get() && self.sender.is_ready()
    }

    /// Whether the endpoint takes another stream on it now.
    ///
    /// Until its settings have come a new connection is taken to be like the one before: requests beyond the limit
    /// would wait in it, and not go elsewhere.
    fn has_room(&self) -> bool {
        let now = self.connection.borrow().current_max_send_streams();
        let limit = match (self.settled.get(), self.streams.get()) {
            (true, _) | (false, 0) => now,
            (false, learned) => now.min(learned),
        };
        self.active.get() < limit
    }
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

    /// A response came on it.
    pub(crate) fn answered(&self) {
        if !self.0.settled.replace(true) {
            self.0.streams.set(self.0.connection.borrow().current_max_send_streams());
        }
    }

    /// A request on it failed: new ones go elsewhere.
    pub(crate) fn retire(&self) {
        self.0.closed.set(true);
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
        connections.retain(|one| one.usable());
        connections.iter().find(|one| one.has_room()).map(H2Lease::new)
    }

    /// Closes connections that are dead, or idle since before `since`. Says whether any is left.
    pub(super) fn sweep(&self, since: Option<Instant>) -> bool {
        let mut connections = self.connections.borrow_mut();
        connections.retain(|one| {
            let idle = one.active.get() == 0 && since.is_some_and(|since| one.idle_since.get() <= since);
            one.usable() && !idle
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
        let (connection, closed) = (Rc::new(RefCell::new(connection)), Rc::new(Cell::new(false)));
        tokio::task::spawn_local(Driver { connection: connection.clone(), closed: closed.clone(), _open: open });
        let connection = Rc::new(H2 {
            sender,
            connection,
            closed,
            settled: Cell::new(false),
            streams: self.0.streams.clone(),
            active: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
        });
        let lease = H2Lease::new(&connection);
        self.0.connections.borrow_mut().push(connection);
        Ok(lease)
    }
}

/// The connection's own task: all requests on it share it, so none can drive it alone.
struct Driver {
    connection: Rc<RefCell<H2Connection>>,
    closed: Rc<Cell<bool>>,
    _open: Open,
}

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let ended = Pin::new(&mut *this.connection.borrow_mut()).poll(cx);
        if ended.is_ready() {
            this.closed.set(true);
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

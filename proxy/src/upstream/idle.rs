//! HTTP/1 connections that carry no request: with hyper, or without it, as the relay uses them. Both are kept in one
//! place and become the other kind where that is asked for, so that all requests of a core share them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Instant;

use tokio::io::{AsyncRead, ReadBuf};

use super::endpoint::Lease;
use super::h1::{H1, Open};
use super::stream::Stream;
use crate::observe::UpstreamMetrics;

/// A connection without hyper.
pub(crate) struct Raw {
    /// Its bytes.
    pub(crate) stream: Stream,
    pub(super) open: Open,
    pub(super) idle_since: Instant,
}

impl Raw {
    /// A connection that was made, and counted, just now.
    pub(crate) fn new(stream: Stream, metrics: Arc<UpstreamMetrics>) -> Self {
        Self { stream, open: Open::new(metrics), idle_since: Instant::now() }
    }

    /// Whether it still stands while nothing is asked for on it. Costs no system call unless something has happened.
    fn alive(&mut self) -> bool {
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        Pin::new(&mut self.stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer).is_pending()
    }

    /// After a whole response: back to its endpoint.
    pub(crate) fn release(mut self, lease: &Lease) {
        self.idle_since = Instant::now();
        lease.endpoint().put_idle(Idle::Raw(self));
    }
}

/// A connection that carries no request.
pub(crate) enum Idle {
    /// With hyper.
    Hyper(Box<H1>),
    /// Without.
    Raw(Raw),
}

impl Idle {
    /// For a request of hyper's.
    ///
    /// # Errors
    /// hyper's.
    pub(crate) async fn into_h1(self, head_bytes: usize) -> hyper::Result<Box<H1>> {
        match self {
            Self::Hyper(connection) => Ok(connection),
            Self::Raw(raw) => H1::new(raw, head_bytes).await,
        }
    }

    /// For a request of the relay's; `None` when it has ended.
    pub(super) fn into_raw(self) -> Option<Raw> {
        let raw = match self {
            Self::Hyper(connection) => connection.into_raw(),
            Self::Raw(raw) => Some(raw),
        };
        raw.and_then(|mut raw| raw.alive().then_some(raw))
    }

    /// Whether it still stands.
    pub(super) fn alive(&mut self) -> bool {
        match self {
            Self::Hyper(connection) => connection.alive(),
            Self::Raw(raw) => raw.alive(),
        }
    }

    /// Since when it is idle.
    pub(super) fn since(&self) -> Instant {
        match self {
            Self::Hyper(connection) => connection.idle_since,
            Self::Raw(raw) => raw.idle_since,
        }
    }
}

impl std::fmt::Debug for Idle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Idle").field("since", &self.since()).finish_non_exhaustive()
    }
}

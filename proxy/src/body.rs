//! The one body type of the data plane, for requests and responses alike.
//!
//! A body is a source of frames (nothing, bytes at hand, a client's stream, an endpoint's stream, a replay of what was
//! sent before) with limits around it: size, idle time, a deadline, a byte counter, and a hook that runs once when it
//! ends. All of them lie in the body itself, and timers are made only when a source has nothing to give, so that a
//! small body costs no allocation and no timer. Bodies stay on their core and aren't `Send`.
//! The server makes request bodies and reads response bodies; `forward` makes response bodies and reads request bodies.

mod replay;
mod watch;

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use http::header::{self, HeaderName};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;

use crate::fault::{Kind, RequestFault};
use crate::upstream::ResponseStream;
pub(crate) use replay::Replay;
use watch::Watch;
pub(crate) use watch::{Upload, idle_fault, late};

/// Bytes that went through a body, for whoever holds the other end.
pub type Counter = Rc<Cell<u64>>;

/// How a body ended, and how many bytes of data it gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Bytes of data, without trailers.
    pub bytes: u64,
    /// How.
    pub outcome: Outcome,
}

/// How a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All of it was read.
    Complete,
    /// It broke, with this kind of fault.
    Failed(Kind),
    /// Its reader let go of it before its end.
    Dropped,
}

/// Whose body it is; says who is to blame when it breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// A request's.
    Client,
    /// A response's.
    Endpoint,
}

/// A request's or response's body.
pub struct Body {
    source: Source,
    side: Side,
    /// Bytes given so far.
    bytes: u64,
    /// Bytes that may be given.
    limit: u64,
    counter: Option<Counter>,
    watch: Watch,
    on_end: Option<Box<dyn FnOnce(Ended)>>,
    ended: bool,
}

/// Where frames come from.
enum Source {
    Empty,
    Full(Bytes),
    Client(Incoming),
    Endpoint(ResponseStream),
    Replay(Rc<Replay>, usize),
}

impl Body {
    fn new(source: Source, side: Side) -> Self {
        Self { source, side, bytes: 0, limit: u64::MAX, counter: None, watch: Watch::default(), on_end: None, ended: false }
    }

    /// No body.
    pub fn empty() -> Self {
        Self::new(Source::Empty, Side::Endpoint)
    }

    /// Bytes at hand: our own answers.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self::new(Source::Full(bytes.into()), Side::Endpoint)
    }

    /// What a client sends.
    pub fn incoming(incoming: Incoming) -> Self {
        if http_body::Body::is_end_stream(&incoming) {
            return Self::new(Source::Empty, Side::Client);
        }
        Self::new(Source::Client(incoming), Side::Client)
    }

    /// What an endpoint sends.
    pub(crate) fn endpoint(stream: ResponseStream) -> Self {
        Self::new(Source::Endpoint(stream), Side::Endpoint)
    }

    /// What was kept of a request's body for another attempt, and then the rest of it.
    pub(crate) fn replay(replay: Rc<Replay>) -> Self {
        Self::new(Source::Replay(replay, 0), Side::Client)
    }

    /// Adds the bytes of every frame to a counter.
    #[must_use]
    pub fn counted(mut self, counter: Counter) -> Self {
        self.counter = Some(counter);
        self
    }

    /// Fails with 413 once more than `bytes` have come.
    #[must_use]
    pub fn limited(mut self, bytes: u64) -> Self {
        self.limit = bytes;
        self
    }

    /// Fails when no frame comes for so long while one is waited for. `ZERO`: no limit.
    #[must_use]
    pub fn idle(mut self, period: Duration) -> Self {
        self.watch.idle(period);
        self
    }

    /// Fails when it hasn't ended by then.
    #[must_use]
    pub fn deadline(mut self, at: Instant) -> Self {
        self.watch.deadline(at);
        self
    }

    /// Runs once when the body ends, breaks or is dropped.
    #[must_use]
    pub fn on_end(mut self, hook: impl FnOnce(Ended) + 'static) -> Self {
        self.on_end = Some(Box::new(hook));
        self
    }

    /// Shares what happens to it with the forward path.
    #[must_use]
    pub(crate) fn tracked(mut self, upload: Rc<Upload>) -> Self {
        self.watch.share(upload);
        self
    }

    /// A response's body beside a request's: bytes in either direction keep both from being idle.
    #[must_use]
    pub(crate) fn beside(mut self, upload: Rc<Upload>) -> Self {
        self.watch.beside(upload);
        self
    }

    fn end(&mut self, outcome: Outcome) {
        if self.ended {
            return;
        }
        self.ended = true;
        self.source = Source::Empty;
        self.watch.ended();
        if let Some(hook) = self.on_end.take() {
            hook(Ended { bytes: self.bytes, outcome });
        }
    }

    fn fail(&mut self, fault: RequestFault) -> Poll<Option<Result<Frame<Bytes>, RequestFault>>> {
        self.watch.failed(&fault);
        self.end(Outcome::Failed(fault.kind));
        Poll::Ready(Some(Err(fault)))
    }

    /// A frame of the source: counted, held against the limit, trailers cleaned.
    fn take(&mut self, frame: Frame<Bytes>) -> Poll<Option<Result<Frame<Bytes>, RequestFault>>> {
        self.watch.progress();
        let frame = match frame.into_data() {
            Ok(data) => {
                self.bytes = self.bytes.saturating_add(data.len() as u64);
                if self.bytes > self.limit {
                    return self.fail(too_large(self.limit));
                }
                if let Some(counter) = &self.counter {
                    counter.set(counter.get().saturating_add(data.len() as u64));
                }
                Frame::data(data)
            }
            Err(other) => match other.into_trailers() {
                Ok(trailers) => Frame::trailers(clean_trailers(trailers)),
                Err(unknown) => unknown,
            },
        };
        if self.source.at_end() {
            self.watch.ended();
        }
        Poll::Ready(Some(Ok(frame)))
    }
}

/// The fault of a body over its limit, in bytes.
pub(crate) fn too_large(limit: u64) -> RequestFault {
    RequestFault::new(
        Kind::BodyTooLarge,
        format!(
            "the request's body is larger than the {limit} bytes that this route takes; send less or raise the route's limit"
        ),
    )
}

/// Fields that frame, route or authenticate a message have no business in trailers (RFC 9110 §6.5.1).
const NOT_IN_TRAILERS: [HeaderName; 12] = [
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::HOST,
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
    header::AUTHORIZATION,
    header::SET_COOKIE,
];

fn clean_trailers(mut trailers: HeaderMap) -> HeaderMap {
    for name in &NOT_IN_TRAILERS {
        trailers.remove(name);
    }
    trailers
}

impl Source {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, RequestFault>>> {
        match self {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Client(incoming) => {
                let frame = std::task::ready!(http_body::Body::poll_frame(Pin::new(incoming), cx));
                Poll::Ready(frame.map(|frame| frame.map_err(|error| client_ended().source(error))))
            }
            Self::Endpoint(stream) => stream.poll_frame(cx),
            Self::Replay(replay, place) => replay.poll_frame(place, cx),
        }
    }

    fn at_end(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Client(incoming) => http_body::Body::is_end_stream(incoming),
            Self::Endpoint(stream) => stream.is_end_stream(),
            Self::Replay(replay, place) => replay.is_end_stream(*place),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Client(incoming) => http_body::Body::size_hint(incoming),
            Self::Endpoint(stream) => stream.size_hint(),
            Self::Replay(replay, place) => replay.size_hint(*place),
        }
    }
}

/// The client's body didn't come whole.
pub(crate) fn client_ended() -> RequestFault {
    RequestFault::new(Kind::ClientBody, "the client's body ended early or its framing is broken; the client should send it again")
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = RequestFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, RequestFault>>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        match this.source.poll(cx) {
            Poll::Ready(Some(Ok(frame))) => this.take(frame),
            Poll::Ready(Some(Err(fault))) => this.fail(fault),
            Poll::Ready(None) => {
                this.end(Outcome::Complete);
                Poll::Ready(None)
            }
            Poll::Pending => match this.watch.poll(this.side, cx) {
                Poll::Ready(fault) => this.fail(fault),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.source.at_end()
    }

    fn size_hint(&self) -> SizeHint {
        self.source.size_hint()
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let outcome = if self.source.at_end() { Outcome::Complete } else { Outcome::Dropped };
        self.end(outcome);
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").field("side", &self.side).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

//! A client's HTTP/1 connection as hyper sees it: only bytes that `gate/wire` has let through.
//!
//! Whole heads pass without being copied. What comes of a head before its end is kept here, so that a refused head never
//! reaches hyper in part: in its place hyper gets a short request that closes the connection, and [`Link`] says
//! which one it is, so that the refusal is answered and logged like any other. HTTP/2 passes through untouched.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::fault::{Kind, RequestFault};
use crate::gate::sent::Sent;
use crate::gate::wire::{Search, Step, Wire};
use crate::server::link::Link;
use crate::server::stream::Stream;

/// What hyper reads in the place of a refused head.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nHost: refused.invalid\r\nConnection: close\r\n\r\n";
/// How long, and how many bytes, are read on after a refusal, so that the client sees the answer.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 << 10;

/// A client's connection, gated.
#[derive(Debug)]
pub struct Io {
    stream: Stream,
    /// `None` for HTTP/2.
    wire: Option<Wire>,
    link: Arc<Link>,
    /// Bytes read that hyper hasn't got.
    kept: Vec<u8>,
    /// How many of `kept` may go on, and how many of them have gone.
    released: usize,
    gone: usize,
    /// The search for the end of the head in `kept`.
    search: Search,
    /// Heads that went on, stand-ins included.
    heads: u64,
    linger: Option<(Pin<Box<Sleep>>, usize)>,
}

impl Io {
    /// A connection on which so many heads have come, and on which what follows them, `prefix`, was read already.
    pub fn new(stream: Stream, wire: Option<Wire>, link: Arc<Link>, prefix: Vec<u8>, heads: u64) -> Self {
        let mut io =
            Self { stream, wire, link, kept: prefix, released: 0, gone: 0, search: Search::default(), heads, linger: None };
        if io.wire.is_none() {
            io.released = io.kept.len();
        }
        io
    }

    /// Looks at the kept bytes that aren't released. Whether some are now.
    fn scan_kept(&mut self) -> io::Result<bool> {
        let Some(wire) = &mut self.wire else { return Ok(true) };
        while let Some(rest) = self.kept.get(self.released..).filter(|rest| !rest.is_empty()) {
            if wire.before_head() && !self.search.worth(rest, wire.head_limit()) {
                break;
            }
            match wire.advance(rest) {
                Step::Pass(bytes) => self.released += bytes,
                Step::Head(bytes) => {
                    self.released += bytes;
                    self.heads += 1;
                    self.search.reset();
                    self.link.undecide();
                }
                Step::Partial | Step::Held => break,
                Step::RefuseBody(reason) => {
                    self.link.linger();
                    return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
                }
                Step::RefuseHead(fault) => {
                    let sent = Sent::read(rest);
                    self.kept.truncate(self.released);
                    self.stand_in(fault, sent);
                    break;
                }
            }
        }
        self.link.set_partial_head(self.search.begun());
        Ok(self.released > self.gone)
    }

    /// Puts the stand-in in the place of the head that would come next.
    fn stand_in(&mut self, fault: RequestFault, sent: Sent) {
        self.heads += 1;
        self.link.refuse(self.heads, fault, sent);
        self.kept.extend_from_slice(STAND_IN);
        self.released = self.kept.len();
        self.search.reset();
    }

    /// Refuses a head whose time is up. Whether it did.
    fn expire(&mut self) -> bool {
        let Some(wire) = self.wire.as_mut().filter(|wire| self.search.begun() && !wire.refused() && self.link.expired()) else {
            return false;
        };
        wire.refuse();
        let sent = Sent::read(self.kept.get(self.released..).unwrap_or_default());
        self.kept.truncate(self.released);
        let message = "the request's head didn't come whole in time; check the client or the network between";
        self.stand_in(RequestFault::new(Kind::ClientTimeout, message), sent);
        true
    }

    /// Gives released bytes to hyper.
    fn give(&mut self, buf: &mut ReadBuf<'_>) {
        let ready = self.kept.get(self.gone..self.released).unwrap_or_default();
        let length = ready.len().min(buf.remaining());
        buf.put_slice(ready.get(..length).unwrap_or_default());
        self.gone += length;
        if self.gone == self.released {
            // Most often nothing is left, and the memory goes too.
            self.kept = self.kept.split_off(self.gone);
            (self.released, self.gone) = (0, 0);
        }
    }

    /// Looks at bytes that lie in hyper's buffer already; takes back what may not go on. Whether some may.
    fn scan_in_place(&mut self, buf: &mut ReadBuf<'_>, before: usize) -> io::Result<bool> {
        let Some(wire) = &mut self.wire else { return Ok(true) };
        let mut passed = before;
        loop {
            let rest = buf.filled().get(passed..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(true);
            }
            match wire.advance(rest) {
                Step::Pass(bytes) => passed += bytes,
                Step::Head(bytes) => {
                    passed += bytes;
                    self.heads += 1;
                    self.link.undecide();
                }
                Step::Partial => {
                    self.search.worth(rest, usize::MAX);
                    self.link.set_partial_head(true);
                    self.kept = rest.to_vec();
                    break;
                }
                Step::Held => {
                    self.kept = rest.to_vec();
                    break;
                }
                Step::RefuseBody(reason) => {
                    self.link.linger();
                    return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
                }
                Step::RefuseHead(fault) => {
                    let sent = Sent::read(rest);
                    self.stand_in(fault, sent);
                    break;
                }
            }
        }
        buf.set_filled(passed);
        Ok(passed > before)
    }

    /// While an answer to an upgrade is awaited nothing is read. Whether reading may go on.
    fn poll_held(&mut self, cx: &Context<'_>) -> bool {
        let Some(wire) = self.wire.as_mut().filter(|wire| wire.held()) else { return true };
        match self.link.decision(cx.waker()) {
            Some(true) => wire.open(),
            Some(false) => wire.resume(),
            None => return false,
        }
        true
    }

    /// Reads and drops what the client still sends, for a moment.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (sleep, left) = self.linger.get_or_insert_with(|| (Box::pin(tokio::time::sleep(LINGER)), LINGER_BYTES));
        if sleep.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let mut scratch = [0; 4096];
        loop {
            let mut buf = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf)) {
                Ok(()) if buf.filled().is_empty() => return Poll::Ready(Ok(())),
                Ok(()) if *left > buf.filled().len() => *left -= buf.filled().len(),
                Ok(()) | Err(_) => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.released > this.gone {
            this.give(buf);
            return Poll::Ready(Ok(()));
        }
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if this.expire() {
            this.give(buf);
            return Poll::Ready(Ok(()));
        }
        if this.wire.as_ref().is_some_and(Wire::refused) || !this.poll_held(cx) {
            return Poll::Pending;
        }
        if this.kept.len() > this.released && !this.search.begun() && this.scan_kept()? {
            this.give(buf);
            return Poll::Ready(Ok(()));
        }
        loop {
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
            if buf.filled().len() == before {
                return Poll::Ready(Ok(()));
            }
            if this.kept.is_empty() {
                if this.scan_in_place(buf, before)? {
                    return Poll::Ready(Ok(()));
                }
            } else {
                this.kept.extend_from_slice(buf.filled().get(before..).unwrap_or_default());
                buf.set_filled(before);
                this.scan_kept()?;
            }
            if this.released > this.gone {
                this.give(buf);
                return Poll::Ready(Ok(()));
            }
            if this.wire.as_ref().is_some_and(Wire::held) && !this.poll_held(cx) {
                return Poll::Pending;
            }
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.link.set_write_stuck(written.is_pending());
        written
    }
    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.link.set_write_stuck(written.is_pending());
        written
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
        }
        let unread = this.wire.as_ref().is_some_and(|wire| !wire.before_head() && !wire.is_open());
        if unread || this.link.lingers() { this.poll_linger(cx) } else { Poll::Ready(Ok(())) }
    }
}

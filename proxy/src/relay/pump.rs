//! What moves between a client and an endpoint while one exchange lasts: the rest of the request's body up, the response
//! down. Whatever is waited for, the other direction goes on, and a client that goes away is noticed.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::AsyncWrite;

use super::buffer::Buffer;
use super::timer::{Timer, Wait};
use crate::forward::Times;
use crate::server::stream::Stream;
use crate::upstream::{Lease, Raw};

/// Why moving ended.
#[derive(Debug)]
pub(super) enum Stop {
    /// The client went away. There is nobody to answer.
    Gone,
    /// The client's body ended early.
    ClientBody,
    /// The client sent nothing of its body for too long.
    ClientSilent,
    /// The endpoint sent nothing for too long.
    Silent,
    /// The request's time is up.
    Late,
    /// The endpoint's connection broke.
    Broken(io::Error),
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaited {
    /// The response's head, from the end of the request.
    Head,
    /// More of the response's body.
    Body,
}

/// What becomes of a request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upload {
    /// It is on its way.
    Moving,
    /// All of it was written.
    Whole,
    /// The endpoint takes no more of it. It may still answer.
    Dead,
}

/// The two connections of an exchange, and what is on its way between them.
pub(super) struct Pump<'k> {
    client: &'k mut Stream,
    /// The connection of the attempt that is on.
    endpoint: Option<Raw>,
    /// The client's body on its way, then what the client sends ahead.
    ahead: &'k mut Buffer,
    /// What the endpoint has sent.
    pub(super) answer: &'k mut Buffer,
    timer: &'k mut Timer,
    /// Bytes of the request's body that weren't read yet.
    left: u64,
    upload: Upload,
    wait: Wait,
}

impl<'k> Pump<'k> {
    /// From a client, while so many bytes of its request's body haven't been read.
    pub(super) fn new(
        client: &'k mut Stream,
        (ahead, answer): (&'k mut Buffer, &'k mut Buffer),
        timer: &'k mut Timer,
        left: u64,
    ) -> Self {
        let upload = if left > 0 { Upload::Moving } else { Upload::Whole };
        Self { client, endpoint: None, ahead, answer, timer, left, upload, wait: Wait::default() }
    }

    /// An attempt begins on a connection.
    pub(super) fn attempt(&mut self, endpoint: Raw) {
        self.answer.clear();
        self.wait.reset();
        self.endpoint = Some(endpoint);
    }

    /// The attempt's connection, whose response has ended, may carry another request.
    pub(super) fn release(&mut self, lease: &Lease) {
        if let Some(endpoint) = self.endpoint.take().filter(|_| self.whole() && self.answer.is_empty()) {
            endpoint.release(lease);
        }
    }

    /// Whether the request was read whole, and all of it that the endpoint takes went out.
    pub(super) fn whole(&self) -> bool {
        self.upload == Upload::Whole
    }

    /// Bytes of the request's body that weren't read.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// Writes the beginning of the request.
    ///
    /// # Errors
    /// How many bytes went out, and why no more.
    pub(super) async fn begin(&mut self, bytes: &[u8], times: &Times) -> Result<(), (usize, Stop)> {
        let mut written = 0;
        let begun = poll_fn(|cx| {
            let Some(Raw { stream, .. }) = &mut self.endpoint else { return Poll::Ready(Err(broken())) };
            while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
                match Pin::new(&mut *stream).poll_write(cx, rest) {
                    Poll::Ready(Ok(count @ 1..)) => written += count,
                    Poll::Ready(Ok(_)) => return Poll::Ready(Err(broken())),
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(Stop::Broken(error))),
                    Poll::Pending => return self.pending(Awaited::Head, times, cx).map(Err),
                }
            }
            match Pin::new(stream).poll_flush(cx) {
                Poll::Ready(result) => Poll::Ready(result.map_err(Stop::Broken)),
                Poll::Pending => self.pending(Awaited::Head, times, cx).map(Err),
            }
        });
        begun.await.map_err(|stop| (written, stop))
    }

    /// Reads more from the endpoint; 0: it has ended.
    pub(super) async fn fill(&mut self, awaited: Awaited, times: &Times) -> Result<usize, Stop> {
        // The time for a head is one, however many pieces it comes in.
        if awaited == Awaited::Body {
            self.wait.reset();
        }
        poll_fn(|cx| {
            self.poll_upload(cx)?;
            let Some(Raw { stream, .. }) = &mut self.endpoint else { return Poll::Ready(Err(broken())) };
            if let Poll::Ready(read) = self.answer.poll_read(stream, u64::MAX, cx) {
                return Poll::Ready(read.map_err(Stop::Broken));
            }
            if self.upload == Upload::Whole && self.ahead.is_empty() {
                match self.ahead.poll_read(self.client, u64::MAX, cx) {
                    Poll::Ready(Ok(1..)) | Poll::Pending => {}
                    Poll::Ready(Ok(_) | Err(_)) => return Poll::Ready(Err(Stop::Gone)),
                }
            }
            self.pending(awaited, times, cx).map(Err)
        })
        .await
    }

    /// Writes to the client, which may take its time up to a limit.
    pub(super) async fn send(&mut self, bytes: &[u8], limit: Duration) -> Result<(), Stop> {
        let mut written = 0;
        let mut wait = Wait::default();
        poll_fn(|cx| {
            self.poll_upload(cx)?;
            let done = 'sending: {
                while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
                    match Pin::new(&mut *self.client).poll_write(cx, rest) {
                        Poll::Ready(Ok(count @ 1..)) => written += count,
                        Poll::Ready(Ok(_) | Err(_)) => return Poll::Ready(Err(Stop::Gone)),
                        Poll::Pending => break 'sending false,
                    }
                    wait.reset();
                }
                match Pin::new(&mut *self.client).poll_flush(cx) {
                    Poll::Ready(Ok(())) => true,
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(Stop::Gone)),
                    Poll::Pending => false,
                }
            };
            if done {
                return Poll::Ready(Ok(()));
            }
            match wait.until(limit) {
                Some(at) if self.timer.poll(at, cx) => Poll::Ready(Err(Stop::Gone)),
                _ => Poll::Pending,
            }
        })
        .await
    }

    /// Moves the request's body on.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), Stop> {
        while let (Upload::Moving, Some(Raw { stream, .. })) = (self.upload, &mut self.endpoint) {
            if !self.ahead.is_empty() {
                match Pin::new(stream).poll_write(cx, self.ahead.filled()) {
                    Poll::Ready(Ok(count @ 1..)) => self.ahead.consume(count),
                    Poll::Ready(Ok(_) | Err(_)) => self.dead(),
                    Poll::Pending => return Ok(()),
                }
                self.wait.reset();
                continue;
            }
            if self.left == 0 {
                match Pin::new(stream).poll_flush(cx) {
                    Poll::Ready(Ok(())) => self.upload = Upload::Whole,
                    Poll::Ready(Err(_)) => self.dead(),
                    Poll::Pending => return Ok(()),
                }
                self.wait.reset();
                continue;
            }
            match self.ahead.poll_read(self.client, self.left, cx) {
                Poll::Ready(Ok(count @ 1..)) => self.left -= count as u64,
                Poll::Ready(Ok(_) | Err(_)) => return Err(Stop::ClientBody),
                Poll::Pending => {
                    // What was written before may wait in TLS.
                    let _ = Pin::new(stream).poll_flush(cx);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn dead(&mut self) {
        self.upload = Upload::Dead;
        self.ahead.clear();
    }

    /// Nothing moves: ready when that has lasted too long.
    fn pending(&mut self, awaited: Awaited, times: &Times, cx: &mut Context<'_>) -> Poll<Stop> {
        let moving = self.upload == Upload::Moving;
        let limit = if awaited == Awaited::Head && !moving { times.response_headers } else { times.idle };
        let idle = self.wait.until(limit);
        let deadline = times.deadline;
        let Some(at) = idle.into_iter().chain(deadline).min() else { return Poll::Pending };
        if !self.timer.poll(at, cx) {
            return Poll::Pending;
        }
        Poll::Ready(if deadline == Some(at) {
            Stop::Late
        } else if moving && self.ahead.is_empty() && awaited == Awaited::Head {
            Stop::ClientSilent
        } else {
            Stop::Silent
        })
    }
}

fn broken() -> Stop {
    Stop::Broken(io::ErrorKind::WriteZero.into())
}

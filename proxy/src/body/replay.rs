//! The replay buffer: the beginning of a request's body, kept so that another attempt can send it again.
//!
//! Only where the matched rule can retry. Chunks are shared, not copied. Over its bound nothing is kept any more and
//! the request can't be sent again. Made by `forward`, read through `Body`.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

use super::Body;
use crate::fault::RequestFault;

/// A request's body behind a buffer of its first bytes.
#[derive(Debug)]
pub(crate) struct Replay {
    rest: RefCell<Body>,
    kept: RefCell<Vec<Frame<Bytes>>>,
    size: Cell<usize>,
    bound: usize,
    over: Cell<bool>,
    hint: SizeHint,
}

impl Replay {
    /// Keeps up to `bound` bytes of a body.
    pub(crate) fn new(body: Body, bound: usize) -> Self {
        let hint = body.size_hint();
        Self { rest: RefCell::new(body), kept: RefCell::new(Vec::new()), size: Cell::new(0), bound, over: Cell::new(false), hint }
    }

    /// Whether all that was read so far can be sent again.
    pub(crate) fn whole(&self) -> bool {
        !self.over.get()
    }

    pub(super) fn poll_frame(&self, place: &mut usize, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, RequestFault>>> {
        if let Some(frame) = self.kept.borrow().get(*place) {
            *place += 1;
            return Poll::Ready(copy(frame).map(Ok));
        }
        let frame = std::task::ready!(Pin::new(&mut *self.rest.borrow_mut()).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            self.keep(frame);
            *place += 1;
        }
        Poll::Ready(frame)
    }

    fn keep(&self, frame: &Frame<Bytes>) {
        let size = self.size.get().saturating_add(frame.data_ref().map_or(0, Bytes::len));
        if self.over.get() || size > self.bound {
            self.over.set(true);
            self.kept.borrow_mut().clear();
            return;
        }
        self.size.set(size);
        self.kept.borrow_mut().extend(copy(frame));
    }

    pub(super) fn is_end_stream(&self, place: usize) -> bool {
        (self.over.get() || place >= self.kept.borrow().len()) && self.rest.borrow().is_end_stream()
    }

    /// Exact only at the start, which is where it becomes the Content-Length.
    pub(super) fn size_hint(&self, place: usize) -> SizeHint {
        if place == 0 { self.hint } else { SizeHint::default() }
    }
}

/// Frames aren't `Clone`; their contents are.
fn copy(frame: &Frame<Bytes>) -> Option<Frame<Bytes>> {
    let data = frame.data_ref().map(|data| Frame::data(data.clone()));
    data.or_else(|| frame.trailers_ref().map(|trailers| Frame::trailers(trailers.clone())))
}

//! Buffers of the relay: lent to a connection while a request is on it, and kept by the core meanwhile, so that an idle
//! connection holds none.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use super::head::Fields;

/// Bytes of a buffer: a TLS record, and the heads and small bodies of nearly all requests.
pub(super) const SIZE: usize = 16 << 10;
/// Sets of buffers that a core keeps; more are made when more requests are on their way at once.
const KEPT: usize = 64;

/// Bytes that were read and not used yet.
pub(super) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    fn new() -> Self {
        Self { bytes: vec![0; SIZE], start: 0, end: 0 }
    }

    /// What was read and not used yet.
    pub(super) fn filled(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Whether nothing more can be read.
    pub(super) fn is_full(&self) -> bool {
        self.end - self.start == self.bytes.len()
    }

    /// So many bytes are used.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.start = (self.start + bytes).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Nothing is left.
    pub(super) fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Adds bytes that were read elsewhere.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.compact();
        let end = self.end + bytes.len();
        if end > self.bytes.len() {
            self.bytes.resize(end, 0);
        }
        if let Some(room) = self.bytes.get_mut(self.end..end) {
            room.copy_from_slice(bytes);
            self.end = end;
        }
    }

    /// Room for twice as much, up to a limit; whether there was any to be made.
    pub(super) fn grow(&mut self, most: usize) -> bool {
        let size = (self.bytes.len() * 2).min(most);
        let grows = size > self.bytes.len();
        if grows {
            self.bytes.resize(size, 0);
        }
        grows
    }

    /// Moves what is there to the beginning.
    fn compact(&mut self) {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
    }

    /// Reads what comes, at most so many bytes; 0: the other side has ended.
    pub(super) fn poll_read<S>(&mut self, from: &mut S, most: u64, cx: &mut Context<'_>) -> Poll<io::Result<usize>>
    where
        S: AsyncRead + Unpin,
    {
        if self.end == self.bytes.len() {
            self.compact();
        }
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let end = self.end.saturating_add(most).min(self.bytes.len());
        let mut room = ReadBuf::new(self.bytes.get_mut(self.end..end).unwrap_or_default());
        ready!(Pin::new(from).poll_read(cx, &mut room))?;
        let read = room.filled().len();
        self.end += read;
        Poll::Ready(Ok(read))
    }

    /// Ready for another connection; `false` when it has grown.
    fn reset(&mut self) -> bool {
        self.clear();
        self.bytes.len() == SIZE
    }
}

/// What one request needs.
pub(super) struct Kit {
    /// What the client has sent: heads, and the beginnings of bodies.
    pub(super) input: Buffer,
    /// Where the parts of the head at the beginning of `input` stand.
    pub(super) fields: Fields,
    /// What is written next, to either side.
    pub(super) out: Vec<u8>,
    /// The rest of a request's body on its way; then what the client sends ahead.
    pub(super) ahead: Buffer,
    /// What the endpoint has sent.
    pub(super) answer: Buffer,
}

/// As boxes they move between here and connections by pointer.
type Free = Vec<Box<Kit>>;

thread_local! {
    static FREE: RefCell<Free> = const { RefCell::new(Vec::new()) };
}

impl Kit {
    /// One of the core's, or a new one.
    pub(super) fn lend() -> Box<Self> {
        let free = FREE.try_with(|free| free.try_borrow_mut().ok()?.pop()).ok().flatten();
        free.unwrap_or_else(|| {
            let (input, ahead, answer) = (Buffer::new(), Buffer::new(), Buffer::new());
            Box::new(Self { input, fields: Fields::default(), out: Vec::with_capacity(SIZE), ahead, answer })
        })
    }

    /// Back to the core.
    pub(super) fn give_back(mut self: Box<Self>) {
        self.out.clear();
        let small = self.out.capacity() <= 2 * SIZE;
        if self.input.reset() & self.ahead.reset() & self.answer.reset() & small {
            // Where the core's set can't be reached, or is full, this one is dropped.
            let _ = FREE.try_with(|free| {
                if let Ok(mut free) = free.try_borrow_mut()
                    && free.len() < KEPT
                {
                    free.push(self);
                }
            });
        }
    }
}

//! HTTP/1 framing on the bytes of a connection, before hyper reads them.
//!
//! httparse accepts bare LF, and hyper hides some ambiguous forms by repairing them; both are how requests are smuggled
//! (RFC 9112 §2.2, §5, §6, §11.2). This follows every head and body strictly in one pass, says how many bytes may go on, and
//! refuses the rest. `server::io` calls it; it does no I/O and keeps no bytes.

use crate::fault::RequestFault;
use crate::gate::chunked::Chunked;
use crate::gate::request::{Framing, parse};

/// What the framing of a connection stands before.
#[derive(Debug)]
enum State {
    /// A request's head.
    Head,
    /// So many bytes of a body, and whether the connection may then change its protocol.
    Body(u64, bool),
    /// A chunked body, and whether the connection may then change its protocol.
    Chunked(Box<Chunked>, bool),
    /// The request asks for an upgrade: nothing is read until its answer is known.
    Held,
    /// The connection is upgraded: its bytes are no longer HTTP.
    Open,
    /// A request was refused: nothing behind it can be trusted.
    Refused,
}

/// What is known of the next bytes.
#[derive(Debug)]
pub enum Step {
    /// So many bytes may go on.
    Pass(usize),
    /// A whole head of so many bytes may go on.
    Head(usize),
    /// The head isn't complete; keep its bytes and ask again with more.
    Partial,
    /// Keep what follows until [`Wire::resume`] or [`Wire::open`].
    Held,
    /// A head that is refused. Nothing of it has gone on.
    RefuseHead(RequestFault),
    /// A body that breaks its framing. Nothing of these bytes goes on.
    RefuseBody(&'static str),
}

/// The framing of one connection.
#[derive(Debug)]
pub struct Wire {
    state: State,
    head_bytes: usize,
    headers: usize,
}

impl Wire {
    /// Framing from the first byte of a connection, with limits on a head in bytes and fields.
    pub fn new(head_bytes: usize, headers: usize) -> Self {
        Self { state: State::Head, head_bytes, headers }
    }

    /// Whether the next byte belongs to a head.
    pub fn before_head(&self) -> bool {
        matches!(self.state, State::Head)
    }

    /// The limit on a head, in bytes.
    pub fn head_limit(&self) -> usize {
        self.head_bytes
    }

    /// Whether nothing may be read now.
    pub fn held(&self) -> bool {
        matches!(self.state, State::Held)
    }

    /// Whether the connection is upgraded.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// Whether a request was refused on this connection.
    pub fn refused(&self) -> bool {
        matches!(self.state, State::Refused)
    }

    /// The upgrade was declined: the next request may follow.
    pub fn resume(&mut self) {
        if self.held() {
            self.state = State::Head;
        }
    }

    /// The upgrade was accepted: all bytes go on.
    pub fn open(&mut self) {
        self.state = State::Open;
    }

    /// Refuses whatever comes.
    pub fn refuse(&mut self) {
        self.state = State::Refused;
    }

    /// Looks at the bytes that come next. `bytes` must begin where the last step ended.
    pub fn advance(&mut self, bytes: &[u8]) -> Step {
        match &mut self.state {
            State::Open => Step::Pass(bytes.len()),
            State::Held | State::Refused => Step::Held,
            State::Body(left, upgrade) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= taken as u64;
                if *left == 0 {
                    self.state = after(*upgrade);
                }
                Step::Pass(taken)
            }
            State::Chunked(chunked, upgrade) => match chunked.advance(bytes) {
                Ok((taken, done)) => {
                    if done {
                        self.state = after(*upgrade);
                    }
                    Step::Pass(taken)
                }
                Err(reason) => {
                    self.state = State::Refused;
                    Step::RefuseBody(reason)
                }
            },
            State::Head => self.head(bytes),
        }
    }

    fn head(&mut self, bytes: &[u8]) -> Step {
        match parse(bytes, self.head_bytes, self.headers, &mut ()) {
            Ok(None) => Step::Partial,
            Ok(Some((length, framing))) => {
                self.state = match framing {
                    Framing { chunked: true, upgrade, .. } => State::Chunked(Box::default(), upgrade),
                    Framing { length: Some(length @ 1..), upgrade, .. } => State::Body(length, upgrade),
                    Framing { upgrade, .. } => after(upgrade),
                };
                Step::Head(length)
            }
            Err(fault) => {
                self.state = State::Refused;
                Step::RefuseHead(fault)
            }
        }
    }
}

/// Where a whole head may end: behind the first line end that an empty line follows. Bare line feeds count, so that they
/// are refused at once. `from` is where the last search ended; resuming keeps a head sent byte by byte linear.
fn head_may_end(bytes: &[u8], from: usize) -> bool {
    let tail = bytes.get(from.saturating_sub(3)..).unwrap_or_default();
    tail.windows(2).any(|pair| pair == b"\n\n") || tail.windows(3).any(|three| three == b"\n\r\n")
}

/// When it is worth to look at a head that isn't whole again: when its first line has come, and when it may have ended.
/// Looking at every byte that comes would let a client have it read anew for each.
#[derive(Debug, Default)]
pub struct Search {
    /// How much of the head was there when it was last looked at; 0: it wasn't.
    seen: usize,
    /// Whether its first line was looked at whole.
    line: bool,
}

impl Search {
    /// Whether a head has begun to come.
    pub fn begun(&self) -> bool {
        self.seen > 0
    }

    /// Notes all that there is of the head; whether to look at it.
    pub fn worth(&mut self, rest: &[u8], limit: usize) -> bool {
        let fresh = rest.get(self.seen..).unwrap_or_default();
        let line = !self.line && fresh.contains(&b'\n');
        let worth = self.seen == 0 || line || head_may_end(rest, self.seen) || rest.len() > limit;
        self.line |= line;
        self.seen = rest.len();
        worth
    }

    /// Another head comes next.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

fn after(upgrade: bool) -> State {
    if upgrade { State::Held } else { State::Head }
}

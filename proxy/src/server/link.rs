//! What a connection's bytes and its requests tell each other.
//!
//! hyper stands between [`crate::server::io::Io`], which sees bytes, and the life of a request, which sees heads. hyper wants
//! the former to be `Send`, so these are atomics, read and written by one thread: plain loads and stores.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::fault::RequestFault;
use crate::gate::sent::Sent;

/// What became of a request to upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Upgrade {
    /// Not asked for, or not answered yet.
    Open,
    /// Answered as any other request.
    Declined,
    /// 101.
    Accepted,
}

/// Shared by the two ends of one connection.
#[derive(Debug)]
pub struct Link {
    epoch: Instant,
    /// Which head, counted from 1, was refused on the wire; 0: none.
    refused: AtomicU64,
    refusal: Mutex<Option<(RequestFault, Sent)>>,
    upgrade: AtomicU8,
    held: Mutex<Option<Waker>>,
    /// Milliseconds since `epoch`, plus 1; 0: not so.
    head_since: AtomicU64,
    write_stuck_since: AtomicU64,
    unread: AtomicBool,
    expired: AtomicBool,
}

impl Link {
    /// A new connection's.
    pub fn new(epoch: Instant) -> Self {
        Self {
            epoch,
            refused: AtomicU64::new(0),
            refusal: Mutex::new(None),
            upgrade: AtomicU8::new(Upgrade::Open as u8),
            held: Mutex::new(None),
            head_since: AtomicU64::new(0),
            write_stuck_since: AtomicU64::new(0),
            unread: AtomicBool::new(false),
            expired: AtomicBool::new(false),
        }
    }

    /// The head of this ordinal is refused; hyper gets another in its place.
    pub fn refuse(&self, ordinal: u64, fault: RequestFault, sent: Sent) {
        self.refused.store(ordinal, Relaxed);
        if let Ok(mut slot) = self.refusal.lock() {
            *slot = Some((fault, sent));
        }
        self.linger();
    }

    /// Why the head of this ordinal was refused, and what can be read of it.
    pub fn refusal(&self, ordinal: u64) -> Option<(RequestFault, Sent)> {
        if self.refused.load(Relaxed) != ordinal {
            return None;
        }
        self.refusal.lock().ok()?.take()
    }

    /// The client may still be sending: read on for a moment when closing, else it never sees the answer (RFC 9112 §9.6).
    pub fn linger(&self) {
        self.unread.store(true, Relaxed);
    }

    /// Whether to read on when closing.
    pub fn lingers(&self) -> bool {
        self.unread.load(Relaxed)
    }

    /// An upgrade is answered.
    pub fn decide(&self, accepted: bool) {
        self.upgrade.store(if accepted { Upgrade::Accepted } else { Upgrade::Declined } as u8, Relaxed);
        if let Ok(mut held) = self.held.lock()
            && let Some(waker) = held.take()
        {
            waker.wake();
        }
    }

    /// The answer to an upgrade, once; otherwise the waker is kept until there is one.
    pub fn decision(&self, waker: &Waker) -> Option<bool> {
        let was = self.upgrade.swap(Upgrade::Open as u8, Relaxed);
        if was != Upgrade::Open as u8 {
            return Some(was == Upgrade::Accepted as u8);
        }
        if let Ok(mut held) = self.held.lock() {
            *held = Some(waker.clone());
        }
        None
    }

    /// Forgets an answer that nothing waits for.
    pub fn undecide(&self) {
        self.upgrade.store(Upgrade::Open as u8, Relaxed);
    }

    fn stamp(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    fn instant(&self, stamp: u64) -> Option<Instant> {
        (stamp > 0).then(|| self.epoch + Duration::from_millis(stamp - 1))
    }

    /// A head has begun to come, or has come whole.
    pub fn set_partial_head(&self, partial: bool) {
        match (partial, self.head_since.load(Relaxed)) {
            (true, 0) => self.head_since.store(self.stamp(), Relaxed),
            (false, 1..) => self.head_since.store(0, Relaxed),
            _ => {}
        }
    }

    /// Since when a head is incomplete.
    pub fn partial_head_since(&self) -> Option<Instant> {
        self.instant(self.head_since.load(Relaxed))
    }

    /// The head that is incomplete shall be answered 408.
    pub fn expire(&self) {
        self.expired.store(true, Relaxed);
        self.set_partial_head(false);
    }

    /// Whether the head that is incomplete shall be answered 408.
    pub fn expired(&self) -> bool {
        self.expired.load(Relaxed)
    }

    /// The client doesn't take what is written, or takes it again.
    pub fn set_write_stuck(&self, stuck: bool) {
        match (stuck, self.write_stuck_since.load(Relaxed)) {
            (true, 0) => self.write_stuck_since.store(self.stamp(), Relaxed),
            (false, 1..) => self.write_stuck_since.store(0, Relaxed),
            _ => {}
        }
    }

    /// Since when the client takes nothing.
    pub fn write_stuck_since(&self) -> Option<Instant> {
        self.instant(self.write_stuck_since.load(Relaxed))
    }
}

//! What watches a body: idle time and a deadline, and what the forward path wants to know of an upload.
//!
//! Timers are made when a source first has nothing to give. A frame only notes its time; a timer that fires early
//! is set again. Used by `body.rs` alone.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

use super::Side;
use crate::fault::{Kind, RequestFault};

/// What the forward path and a response's body know of the request's body.
#[derive(Debug)]
pub(crate) struct Upload {
    /// Some of it was read.
    begun: Cell<bool>,
    /// It ended, well or not.
    ended: Cell<bool>,
    /// What broke it, for the answer: hyper's errors don't always carry it.
    fault: RefCell<Option<RequestFault>>,
    /// When a byte last went in either direction.
    last: Cell<Instant>,
    /// Woken when it ends.
    waiter: RefCell<Option<Waker>>,
}

impl Upload {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self {
            begun: Cell::new(false),
            ended: Cell::new(false),
            fault: RefCell::new(None),
            last: Cell::new(Instant::now()),
            waiter: RefCell::new(None),
        })
    }

    /// Whether any of the body was read, so that it is gone unless it was kept.
    pub(crate) fn begun(&self) -> bool {
        self.begun.get()
    }

    /// Ready once the body has ended.
    pub(crate) fn poll_ended(&self, cx: &Context<'_>) -> bool {
        if !self.ended.get() {
            *self.waiter.borrow_mut() = Some(cx.waker().clone());
        }
        self.ended.get()
    }

    /// The client's fault, once.
    pub(crate) fn take_fault(&self) -> Option<RequestFault> {
        self.fault.borrow_mut().take()
    }

    /// Before another attempt reads it from the start.
    pub(crate) fn reset(&self) {
        self.ended.set(false);
        self.begun.set(false);
        self.last.set(Instant::now());
    }
}

/// Limits in time over one body.
#[derive(Debug, Default)]
pub(super) struct Watch {
    idle: Duration,
    last: Option<Instant>,
    deadline: Option<Instant>,
    shared: Option<Rc<Upload>>,
    /// It is the upload itself, not what runs beside it.
    upload: bool,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Watch {
    pub(super) fn idle(&mut self, period: Duration) {
        self.idle = period;
    }

    pub(super) fn deadline(&mut self, at: Instant) {
        self.deadline = Some(self.deadline.map_or(at, |earlier| earlier.min(at)));
    }

    pub(super) fn share(&mut self, upload: Rc<Upload>) {
        self.shared = Some(upload);
        self.upload = true;
    }

    pub(super) fn beside(&mut self, upload: Rc<Upload>) {
        self.shared = Some(upload);
    }

    /// The upload, where this watches it.
    fn own(&self) -> Option<&Upload> {
        self.shared.as_deref().filter(|_| self.upload)
    }

    /// A frame came.
    pub(super) fn progress(&mut self) {
        if let Some(upload) = self.own() {
            upload.begun.set(true);
        }
        if self.timer.is_some() || self.shared.is_some() {
            self.touch();
        }
    }

    fn touch(&mut self) {
        let now = Instant::now();
        self.last = Some(now);
        if let Some(upload) = &self.shared {
            upload.last.set(now);
        }
    }

    pub(super) fn ended(&self) {
        if let Some(upload) = self.own() {
            upload.ended.set(true);
            if let Some(waiter) = upload.waiter.borrow_mut().take() {
                waiter.wake();
            }
        }
    }

    pub(super) fn failed(&self, fault: &RequestFault) {
        if let Some(upload) = self.own() {
            let copy = RequestFault::new(fault.kind, fault.message.clone()).status(fault.status).retry(fault.retry);
            *upload.fault.borrow_mut() = Some(copy);
        }
    }

    /// When a byte last went, in either direction where that is shared.
    fn last(&self) -> Option<Instant> {
        let shared = self.shared.as_ref().map(|upload| upload.last.get());
        self.last.max(shared)
    }

    /// Called when the source has nothing: ready with a fault when that has lasted too long.
    pub(super) fn poll(&mut self, side: Side, cx: &mut Context<'_>) -> Poll<RequestFault> {
        if self.idle.is_zero() && self.deadline.is_none() {
            return Poll::Pending;
        }
        if self.last.is_none() {
            self.last = Some(Instant::now());
        }
        loop {
            let due = self.due();
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due.into())));
            std::task::ready!(timer.as_mut().poll(cx));
            let now = Instant::now();
            if self.deadline.is_some_and(|deadline| deadline <= now) {
                return Poll::Ready(late());
            }
            let due = self.due();
            if due <= now {
                return Poll::Ready(idle_fault(side, self.idle));
            }
            if let Some(timer) = &mut self.timer {
                timer.as_mut().reset(due.into());
            }
        }
    }

    /// The earlier of deadline and idle time.
    fn due(&self) -> Instant {
        let idle = self.last().filter(|_| !self.idle.is_zero()).map(|last| last + self.idle);
        match (idle, self.deadline) {
            (Some(idle), Some(deadline)) => idle.min(deadline),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => Instant::now(),
        }
    }
}

/// The request's time ended while a body was on its way.
pub(crate) fn late() -> RequestFault {
    RequestFault::new(
        Kind::RequestTimeout,
        "the request didn't end within the route's request timeout; see what the endpoint or the client waits for",
    )
}

/// Nothing came of a body for so long.
pub(crate) fn idle_fault(side: Side, idle: Duration) -> RequestFault {
    let seconds = idle.as_secs_f32();
    match side {
        Side::Client => RequestFault::new(
            Kind::ClientTimeout,
            format!("the client sent nothing of the request's body for {seconds} s; send it faster or raise the idle timeout"),
        ),
        Side::Endpoint => RequestFault::new(
            Kind::StreamBroken,
            format!(
                "the endpoint sent nothing of the response's body for {seconds} s; see what it waits for or raise the idle timeout"
            ),
        ),
    }
}

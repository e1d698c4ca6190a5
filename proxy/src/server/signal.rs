//! A signal within one core: a listener's connections learn that they shall end. Reading it costs one load.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;

use ahash::AHashMap;

/// Raised once, never lowered.
#[derive(Debug, Default)]
pub struct Signal {
    raised: Cell<bool>,
    next: Cell<u64>,
    wakers: RefCell<AHashMap<u64, Waker>>,
}

impl Signal {
    /// Whether it is raised.
    pub fn is_raised(&self) -> bool {
        self.raised.get()
    }

    /// Raises it and wakes all that listen.
    pub fn raise(&self) {
        self.raised.set(true);
        let wakers = std::mem::take(&mut *self.wakers.borrow_mut());
        wakers.into_values().for_each(Waker::wake);
    }

    /// Waits until it is raised.
    pub async fn raised(self: &Rc<Self>) {
        let mut ear = Ear::new(self);
        std::future::poll_fn(|cx| {
            ear.listen(cx.waker());
            if self.is_raised() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }
}

/// One listener to a signal; deaf when dropped.
#[derive(Debug)]
pub struct Ear {
    signal: Rc<Signal>,
    id: Option<u64>,
}

impl Ear {
    /// Not yet listening.
    pub fn new(signal: &Rc<Signal>) -> Self {
        Self { signal: signal.clone(), id: None }
    }

    /// Whether the signal is raised.
    pub fn is_raised(&self) -> bool {
        self.signal.is_raised()
    }

    /// Has this waker woken when the signal is raised. Cheap to repeat: a task's waker doesn't change.
    pub fn listen(&mut self, waker: &Waker) {
        if self.id.is_none() {
            let id = self.signal.next.get();
            self.signal.next.set(id.wrapping_add(1));
            self.id = Some(id);
            self.signal.wakers.borrow_mut().insert(id, waker.clone());
        }
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.signal.wakers.borrow_mut().remove(&id);
        }
    }
}

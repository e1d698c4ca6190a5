//! One timer per connection, for all that the relay waits for: it is set again only when it must fire earlier, or has
//! fired, and made when something is first waited for. A timer per wait costs more than routing the request.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::{Duration, Instant};

use tokio::time::Sleep;

/// A connection's timer.
#[derive(Debug, Default)]
pub(super) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    /// When it fires; `None`: it has.
    armed: Option<Instant>,
}

impl Timer {
    /// Whether it is that late; else the task is woken by then.
    pub(super) fn poll(&mut self, at: Instant, cx: &mut Context<'_>) -> bool {
        loop {
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at.into())));
            if self.armed.is_none_or(|armed| at < armed) {
                sleep.as_mut().reset(at.into());
                self.armed = Some(at);
            }
            if sleep.as_mut().poll(cx).is_pending() {
                return false;
            }
            self.armed = None;
            if Instant::now() >= at {
                return true;
            }
        }
    }
}

/// Since when something is waited for, so that the clock is read only when there is something to wait for.
#[derive(Debug, Default)]
pub(super) struct Wait(Option<Instant>);

impl Wait {
    /// Something moved.
    pub(super) fn reset(&mut self) {
        self.0 = None;
    }

    /// When a limit on it ends; `ZERO` is no limit.
    pub(super) fn until(&mut self, limit: Duration) -> Option<Instant> {
        if limit.is_zero() {
            return None;
        }
        self.0.get_or_insert_with(Instant::now).checked_add(limit)
    }
}

//! The limits in time of one request, from its rule or the proxy's defaults. `ZERO` is no limit.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use rust_ingress_model::Rule;
use tokio::time::{Sleep, sleep};

use crate::body::Upload;
use crate::fault::{Kind, RequestFault};
use crate::options::DefaultTimeouts;

/// Limits in time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) connect: Duration,
    pub(crate) response_headers: Duration,
    pub(crate) idle: Duration,
    /// When the whole request must have ended.
    pub(crate) deadline: Option<Instant>,
    request: Duration,
}

impl Times {
    pub(crate) fn of(rule: &Rule, defaults: &DefaultTimeouts, start: Instant) -> Self {
        let or = |ms: Option<u32>, default| ms.map_or(default, |ms| Duration::from_millis(ms.into()));
        let request = or(rule.timeouts.request_ms, defaults.request);
        Self {
            connect: or(rule.timeouts.connect_ms, defaults.connect),
            response_headers: or(rule.timeouts.response_headers_ms, defaults.response_headers),
            idle: or(rule.timeouts.idle_ms, defaults.idle),
            deadline: (!request.is_zero()).then(|| start.checked_add(request)).flatten(),
            request,
        }
    }

    /// Bounds everything up to the response's head by the whole request's limit.
    pub(crate) async fn whole<T>(&self, work: impl Future<Output = T>) -> Result<T, RequestFault> {
        let Some(deadline) = self.deadline else { return Ok(work.await) };
        tokio::time::timeout_at(deadline.into(), work).await.map_err(|_| self.late())
    }

    /// No response before the deadline.
    pub(crate) fn late(&self) -> RequestFault {
        let message = format!(
            "no response within the {} ms that the route gives the whole request; see why the endpoint is slow or raise the timeout",
            self.request.as_millis()
        );
        RequestFault::new(Kind::RequestTimeout, message)
    }

    /// Bounds the wait for a response's head: from now, or from the end of the request's body where there is one.
    pub(super) async fn head<T>(&self, upload: Option<&Upload>, work: impl Future<Output = T>) -> Option<T> {
        let limit = self.response_headers;
        if limit.is_zero() {
            return Some(work.await);
        }
        let mut work = pin!(work);
        let mut timer = pin!(None::<Sleep>);
        poll_fn(|cx| {
            if let Poll::Ready(value) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(value));
            }
            if upload.is_some_and(|upload| !upload.poll_ended(cx)) {
                return Poll::Pending;
            }
            if timer.is_none() {
                timer.set(Some(sleep(limit)));
            }
            match timer.as_mut().as_pin_mut().map(|timer| timer.poll(cx)) {
                Some(Poll::Ready(())) => Poll::Ready(None),
                _ => Poll::Pending,
            }
        })
        .await
    }
}

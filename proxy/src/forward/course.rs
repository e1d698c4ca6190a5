//! The course of one request over its attempts: what was tried, and whether it may be sent again. The same for hyper's
//! requests and the relay's; `whole` says whether all that another attempt needs is still there.

use std::net::SocketAddr;

use http::{Method, StatusCode};
use rust_ingress_model::Rule;
use rust_ingress_model::route::Retry as RetryRule;

use crate::fault::{RequestFault, Retry};

/// Endpoints tried for connections, the first included.
const CONNECT_ATTEMPTS: usize = 3;

/// What was tried, and what may be.
pub(crate) struct Course<'r> {
    retry: Option<&'r RetryRule>,
    idempotent: bool,
    /// Attempts that the rule's retry has used.
    retried: u8,
    /// The one attempt after a lost race with an endpoint that closed an idle connection.
    raced: bool,
    /// Endpoints that gave no connection.
    pub(super) tried: Vec<SocketAddr>,
    /// The next attempt shall not use an idle connection.
    pub(crate) fresh: bool,
}

/// What to do after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Answer with the fault.
    Give,
    /// Another attempt at once.
    Again,
    /// Another attempt after the rule's backoff, in milliseconds.
    After(u32),
}

impl<'r> Course<'r> {
    /// Before the first attempt.
    pub(crate) fn new(rule: &'r Rule, method: &Method) -> Self {
        let retry = rule.retry.as_ref();
        Self { retry, idempotent: idempotent(method), retried: 0, raced: false, tried: Vec::new(), fresh: false }
    }

    /// Whether the rule asks for retries.
    pub(super) fn retries(&self) -> bool {
        self.retry.is_some()
    }

    /// Whether a lost race on an idle connection would be run again.
    pub(super) fn may_race(&self) -> bool {
        self.idempotent && !self.raced
    }

    /// After a failed connect: another endpoint, if there is one and the request is still whole.
    pub(crate) fn after_connect(&mut self, endpoint: SocketAddr, whole: bool) -> Next {
        self.tried.push(endpoint);
        if self.tried.len() < CONNECT_ATTEMPTS && whole { Next::Again } else { Next::Give }
    }

    /// After a request went out, or should have, and no response came.
    pub(crate) fn after_send(&mut self, fault: &RequestFault, reused: bool, whole: bool) -> Next {
        if !whole {
            return Next::Give;
        }
        // The connection was closed before anything of the request was on it, or the endpoint says that it didn't look.
        if fault.retry == Retry::Unsent && (reused || !self.raced) {
            self.raced |= !reused;
            self.fresh = self.raced;
            return Next::Again;
        }
        let may = fault.retry == Retry::Idempotent && self.idempotent;
        if may && reused && !self.raced {
            (self.raced, self.fresh) = (true, true);
            return Next::Again;
        }
        if may { self.by_rule() } else { Next::Give }
    }

    /// After no response came in time.
    pub(super) fn after_wait(&mut self, whole: bool) -> Next {
        if self.idempotent && whole { self.by_rule() } else { Next::Give }
    }

    /// After a response that the rule may count as failed.
    pub(super) fn after_response(&mut self, status: StatusCode, whole: bool) -> Next {
        let counts = self.retry.is_some_and(|retry| retry.codes.contains(&status.as_u16()));
        if counts && self.idempotent && whole { self.by_rule() } else { Next::Give }
    }

    fn by_rule(&mut self) -> Next {
        match self.retry {
            Some(retry) if self.retried < retry.attempts => {
                self.retried += 1;
                Next::After(retry.backoff_ms)
            }
            _ => Next::Give,
        }
    }
}

/// RFC 9110 §9.2.2.
fn idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE)
}

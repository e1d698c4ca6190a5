//! One request while it looks for an endpoint: head and body, what was tried, and whether it may be sent again.

use std::net::SocketAddr;
use std::rc::Rc;

use http::request::Parts;
use http::{Method, Request, StatusCode, header};
use http_body::Body as _;
use rust_ingress_model::Rule;
use rust_ingress_model::route::Retry as RetryRule;

use super::head;
use super::times::Times;
use crate::body::{Body, Replay, Upload, too_large};
use crate::fault::{RequestFault, Retry};
use crate::options::Limits;
use crate::upstream::Endpoint;

/// Endpoints tried for connections, the first included.
const CONNECT_ATTEMPTS: usize = 3;

/// A request on its way.
pub(super) struct Job<'r> {
    /// The head, while no attempt has it for good.
    parts: Option<Parts>,
    body: Option<Body>,
    /// What was kept of the body where the rule can retry.
    replay: Option<Rc<Replay>>,
    /// What is known of the body's fate; `None` for requests without one.
    pub(super) upload: Option<Rc<Upload>>,
    times: &'r Times,
    retry: Option<&'r RetryRule>,
    idempotent: bool,
    /// The client asks for another protocol.
    pub(super) upgrade: bool,
    /// Attempts that the rule's retry has used.
    retried: u8,
    /// The one attempt after a lost race with an endpoint that closed an idle connection.
    raced: bool,
    /// Endpoints that gave no connection.
    pub(super) tried: Vec<SocketAddr>,
    /// The next attempt shall not use an idle connection.
    pub(super) fresh: bool,
}

/// What to do after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Answer with the fault.
    Give,
    /// Another attempt at once.
    Again,
    /// Another attempt after the rule's backoff, in milliseconds.
    After(u32),
}

impl<'r> Job<'r> {
    /// Checks the body against its limit and gets it ready.
    pub(super) fn new(
        rule: &'r Rule,
        limits: &Limits,
        times: &'r Times,
        mut parts: Parts,
        body: Body,
    ) -> Result<Self, RequestFault> {
        head::settle(&mut parts);
        let idempotent = idempotent(&parts.method);
        let upgrade = parts.headers.contains_key(header::UPGRADE);
        let mut job = Self {
            parts: Some(parts),
            body: None,
            replay: None,
            upload: None,
            times,
            retry: rule.retry.as_ref(),
            idempotent,
            upgrade,
            retried: 0,
            raced: false,
            tried: Vec::new(),
            fresh: false,
        };
        if body.is_end_stream() {
            job.body = Some(Body::empty());
            return Ok(job);
        }
        let limit = rule.max_body.unwrap_or(limits.body_bytes);
        let limit = if limit == 0 { u64::MAX } else { limit };
        if body.size_hint().lower() > limit {
            return Err(too_large(limit));
        }
        let upload = Upload::new();
        let body = body.limited(limit);
        job.upload = Some(upload.clone());
        if job.retry.is_some() {
            let replay = Rc::new(Replay::new(body, limits.replay_bytes));
            job.replay = Some(replay);
        } else {
            job.body = Some(job.watched(body, &upload));
        }
        Ok(job)
    }

    fn watched(&self, body: Body, upload: &Rc<Upload>) -> Body {
        let body = body.tracked(upload.clone()).idle(self.times.idle);
        match self.times.deadline {
            Some(deadline) => body.deadline(deadline),
            None => body,
        }
    }

    /// The request for an attempt. With `keep`, its head is kept for another.
    pub(super) fn request(&mut self, endpoint: &Endpoint, keep: bool) -> Result<Request<Body>, RequestFault> {
        let gone = || RequestFault::new(crate::fault::Kind::Internal, "a request was sent twice; report this as a defect");
        let mut parts = if keep || self.retry.is_some() { self.parts.clone() } else { self.parts.take() }.ok_or_else(gone)?;
        let body = match (&self.replay, &self.upload) {
            (Some(replay), Some(upload)) => {
                upload.reset();
                self.watched(Body::replay(replay.clone()), upload)
            }
            _ => self.body.take().unwrap_or_else(Body::empty),
        };
        if endpoint.transport.h2 {
            head::h2(&mut parts, endpoint.transport.tls.is_some())?;
        } else {
            head::h1(&mut parts, body.size_hint().exact(), body.is_end_stream())?;
        }
        Ok(Request::from_parts(parts, body))
    }

    /// Takes back a request of which nothing was sent.
    pub(super) fn give_back(&mut self, request: Request<Body>) {
        let (parts, body) = request.into_parts();
        self.parts.get_or_insert(parts);
        if self.replay.is_none() {
            self.body = Some(body);
        }
    }

    /// Whether a head is worth keeping for the race on an idle connection.
    pub(super) fn may_race(&self) -> bool {
        self.idempotent && !self.raced && self.bodiless()
    }

    /// Whether a request is only its head, so that keeping that is keeping all of it.
    pub(super) fn bodiless(&self) -> bool {
        self.upload.is_none()
    }

    /// Whether everything that an attempt needs is still there.
    fn whole(&self) -> bool {
        self.parts.is_some()
            && match (&self.replay, &self.upload) {
                (Some(replay), _) => replay.whole(),
                (None, Some(upload)) => self.body.is_some() && !upload.begun(),
                (None, None) => true,
            }
    }

    /// After a failed connect: another endpoint, if there is one and the request is still whole.
    pub(super) fn after_connect(&mut self, endpoint: SocketAddr) -> Next {
        self.tried.push(endpoint);
        if self.tried.len() < CONNECT_ATTEMPTS && self.whole() { Next::Again } else { Next::Give }
    }

    /// After a request went out, or should have, and no response came.
    pub(super) fn after_send(&mut self, fault: &RequestFault, reused: bool) -> Next {
        if !self.whole() {
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

    /// After a response that the rule may count as failed.
    pub(super) fn after_response(&mut self, status: StatusCode) -> Next {
        let counts = self.retry.is_some_and(|retry| retry.codes.contains(&status.as_u16()));
        if counts && self.idempotent && self.whole() { self.by_rule() } else { Next::Give }
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

//! One request while hyper takes it to an endpoint: its head, its body, and what of them is left for another attempt.

use std::rc::Rc;

use http::request::Parts;
use http::{Request, header};
use http_body::Body as _;
use rust_ingress_model::Rule;

use super::course::Course;
use super::head;
use super::times::Times;
use crate::body::{Body, Replay, Upload, too_large};
use crate::fault::RequestFault;
use crate::options::Limits;
use crate::upstream::Endpoint;

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
    /// The client asks for another protocol.
    pub(super) upgrade: bool,
    /// What was tried, and what may be.
    pub(super) course: Course<'r>,
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
        let course = Course::new(rule, &parts.method);
        let upgrade = parts.headers.contains_key(header::UPGRADE);
        let mut job = Self { parts: Some(parts), body: None, replay: None, upload: None, times, upgrade, course };
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
        if job.course.retries() {
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
        let mut parts = if keep || self.course.retries() { self.parts.clone() } else { self.parts.take() }.ok_or_else(gone)?;
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
        self.course.may_race() && self.bodiless()
    }

    /// Whether a request is only its head, so that keeping that is keeping all of it.
    pub(super) fn bodiless(&self) -> bool {
        self.upload.is_none()
    }

    /// Whether everything that an attempt needs is still there.
    pub(super) fn whole(&self) -> bool {
        self.parts.is_some()
            && match (&self.replay, &self.upload) {
                (Some(replay), _) => replay.whole(),
                (None, Some(upload)) => self.body.is_some() && !upload.begun(),
                (None, None) => true,
            }
    }
}

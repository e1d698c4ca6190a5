//! Attempts: choose an endpoint, get a connection, send, and try again where that is allowed. Called by `Forwarder`.

use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::{Response, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;

use super::Inner;
use super::course::{Course, Next};
use super::faults::{self, Place};
use super::job::Job;
use super::times::Times;
use crate::body::Body;
use crate::exchange::Exchange;
use crate::fault::{Kind, RequestFault};
use crate::upstream::{Connect, Endpoint, H1, H2Lease, H2Place, Lease, Local, LocalUpstream, Raw, ResponseStream};

/// The attempts of one request: where it goes, and what it shares with others.
#[derive(Clone, Copy)]
pub(crate) struct Attempts<'a> {
    pub(crate) inner: &'a Inner,
    pub(crate) target: &'a Rc<LocalUpstream>,
    pub(crate) times: &'a Times,
}

/// A failed attempt.
pub(crate) struct Failure {
    pub(crate) fault: RequestFault,
    pub(crate) next: Next,
}

impl Failure {
    pub(crate) fn last(fault: RequestFault) -> Self {
        Self { fault, next: Next::Give }
    }
}

impl<'a> Attempts<'a> {
    /// Tries until there is a response, or no further attempt is allowed.
    pub(super) async fn run(self, mut job: Job<'a>, exchange: &mut Exchange) -> Result<Response<Body>, RequestFault> {
        let all = self.endpoints().await?;
        loop {
            let endpoint = self.choose(&all, &job.course, exchange)?;
            let failure = match self.attempt(&mut job, exchange, endpoint).await {
                Ok(response) => {
                    let whole = job.whole();
                    match job.course.after_response(response.status(), whole) {
                        Next::Give => return Ok(response),
                        next => Ok(next),
                    }
                }
                Err(failure) => Err(failure),
            };
            self.again(failure, &all, &job.course, exchange).await?;
        }
    }

    /// The endpoints to choose from.
    pub(crate) async fn endpoints(&self) -> Result<Rc<[Rc<Endpoint>]>, RequestFault> {
        self.inner.local.candidates(self.target).await
    }

    /// The endpoint of the next attempt.
    pub(crate) fn choose(
        &self,
        all: &[Rc<Endpoint>],
        course: &Course<'_>,
        exchange: &mut Exchange,
    ) -> Result<Rc<Endpoint>, RequestFault> {
        let endpoint = self.inner.local.choose(self.target, all, &course.tried).ok_or_else(|| self.nowhere())?;
        exchange.endpoint = Some(endpoint.address);
        Ok(match exchange.connection.source {
            None => endpoint,
            Some(source) => self.inner.local.of_source(&endpoint, source.towards(endpoint.address.ip())),
        })
    }

    /// After an attempt that isn't the last: counts, and waits where the rule says so.
    ///
    /// # Errors
    /// It was the last: its fault.
    pub(crate) async fn again(
        &self,
        ended: Result<Next, Failure>,
        all: &[Rc<Endpoint>],
        course: &Course<'_>,
        exchange: &mut Exchange,
    ) -> Result<(), RequestFault> {
        let next = match ended {
            Ok(next) => next,
            Err(Failure { fault, next: Next::Give }) => return Err(fault),
            // Every endpoint has refused a connection.
            Err(Failure { fault, .. }) if !course.tried.is_empty() && all.len() <= course.tried.len() => return Err(fault),
            Err(Failure { next, .. }) => next,
        };
        exchange.retries += 1;
        self.target.metrics.retried();
        if let Next::After(backoff) = next
            && backoff > 0
        {
            tokio::time::sleep(Duration::from_millis(backoff.into())).await;
        }
        Ok(())
    }

    fn nowhere(&self) -> RequestFault {
        let message = format!("the backend {} has no endpoint; check that its Pods are ready", self.target.upstream.key);
        RequestFault::new(Kind::NoEndpoints, message)
    }

    async fn attempt(
        &self,
        job: &mut Job<'_>,
        exchange: &mut Exchange,
        endpoint: Rc<Endpoint>,
    ) -> Result<Response<Body>, Failure> {
        let lease = Lease::new(endpoint);
        if lease.endpoint().transport.h2 {
            return self.over_h2(job, exchange, lease).await;
        }
        self.over_h1(job, exchange, lease).await
    }

    pub(crate) fn place<'p>(&'p self, endpoint: &Endpoint) -> Place<'p> {
        Place { backend: &self.target.upstream.key, endpoint: endpoint.address }
    }

    async fn over_h1(&self, job: &mut Job<'_>, exchange: &mut Exchange, lease: Lease) -> Result<Response<Body>, Failure> {
        let endpoint = lease.endpoint().clone();
        let idle = if job.course.fresh { None } else { endpoint.take_idle() };
        let reused = idle.is_some();
        let mut connection = match idle {
            Some(idle) => {
                self.target.metrics.reused();
                let made = idle.into_h1(self.inner.options.limits.head_bytes).await;
                made.map_err(|error| self.failed(job, &endpoint, true, error, true))?
            }
            // Boxed: connecting is rare, and its state is larger than all the rest of a request's.
            None => Box::pin(self.connect_h1(job, &endpoint)).await?,
        };
        if job.upgrade {
            connection.detach();
        }
        let keep = reused && job.may_race();
        let request = job.request(&endpoint, keep).map_err(Failure::last)?;
        exchange.upstream_start = Some(Instant::now());
        let upload = job.upload.clone();
        let sent = {
            let sending = pin!(connection.send(request));
            self.times.head(upload.as_deref(), sending).await
        };
        let response = self.received(job, &endpoint, reused, sent)?;
        exchange.upstream_head = Some(Instant::now());
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(response.map(|_| Body::empty()));
        }
        if response.body().is_end_stream() {
            connection.release(&lease);
            return Ok(response.map(|_| Body::empty()));
        }
        Ok(response.map(|incoming| self.watched(job, ResponseStream::h1(incoming, connection, lease))))
    }

    async fn over_h2(&self, job: &mut Job<'_>, exchange: &mut Exchange, lease: Lease) -> Result<Response<Body>, Failure> {
        let endpoint = lease.endpoint().clone();
        let (place, reused) = match endpoint.h2.place().await {
            H2Place::Ready(place) => {
                self.target.metrics.reused();
                (place, true)
            }
            H2Place::Make(making) => {
                let whole = job.whole();
                let stream = Box::pin(self.connect(&mut job.course, whole, &endpoint)).await?;
                let made = making.finish(stream, &self.inner.options.limits, self.target.metrics.clone()).await;
                (made.map_err(|error| self.failed(job, &endpoint, false, error, true))?, false)
            }
        };
        // An endpoint may refuse a stream unseen, whatever its method.
        let request = job.request(&endpoint, job.bodiless()).map_err(Failure::last)?;
        exchange.upstream_start = Some(Instant::now());
        let upload = job.upload.clone();
        let mut sender = place.sender();
        let sent = {
            let sending = pin!(sender.try_send_request(request));
            self.times.head(upload.as_deref(), sending).await
        };
        let response = self.received_h2(job, &endpoint, reused, sent, &place)?;
        place.answered();
        exchange.upstream_head = Some(Instant::now());
        if response.body().is_end_stream() {
            return Ok(response.map(|_| Body::empty()));
        }
        Ok(response.map(|incoming| self.watched(job, ResponseStream::h2(incoming, place, lease))))
    }

    /// Limits around a response's body.
    fn watched(&self, job: &Job<'_>, stream: ResponseStream) -> Body {
        let body = Body::endpoint(stream).idle(self.times.idle);
        let body = match self.times.deadline {
            Some(deadline) => body.deadline(deadline),
            None => body,
        };
        match &job.upload {
            Some(upload) => body.beside(upload.clone()),
            None => body,
        }
    }

    async fn connect_h1(&self, job: &mut Job<'_>, endpoint: &Rc<Endpoint>) -> Result<Box<H1>, Failure> {
        let whole = job.whole();
        let stream = self.connect(&mut job.course, whole, endpoint).await?;
        let raw = Raw::new(stream, self.target.metrics.clone());
        let made = H1::new(raw, self.inner.options.limits.head_bytes).await;
        made.map_err(|error| self.failed(job, endpoint, false, error, true))
    }

    /// A connection's bytes, counted; the endpoint is left out for a while when there is none.
    pub(crate) async fn connect(
        &self,
        course: &mut Course<'_>,
        whole: bool,
        endpoint: &Rc<Endpoint>,
    ) -> Result<crate::upstream::Stream, Failure> {
        let begun = Instant::now();
        match Connect.within(self.times.connect, endpoint).await {
            Ok(stream) => {
                self.target.metrics.connected(begun.elapsed());
                endpoint.connected();
                Local::sweep_later(&self.inner.local);
                Ok(stream)
            }
            Err(error) => {
                self.target.metrics.connect_failed();
                if endpoint.refused() {
                    self.target.metrics.ejected();
                }
                let fault = faults::connect(error, self.place(endpoint));
                Err(Failure { fault, next: course.after_connect(endpoint.address, whole) })
            }
        }
    }

    /// What came of sending: the response, or the fault and what to do next.
    fn received(
        &self,
        job: &mut Job<'_>,
        endpoint: &Endpoint,
        reused: bool,
        sent: Option<Result<Response<Incoming>, hyper::client::conn::TrySendError<http::Request<Body>>>>,
    ) -> Result<Response<Incoming>, Failure> {
        let mut error = match sent {
            Some(Ok(response)) => return Ok(response),
            None => {
                let whole = job.whole();
                return Err(Failure { fault: faults::slow(self.place(endpoint)), next: job.course.after_wait(whole) });
            }
            Some(Err(error)) => error,
        };
        let unsent = error.take_message();
        let nothing = unsent.is_some();
        if let Some(request) = unsent {
            job.give_back(request);
        }
        Err(self.failed(job, endpoint, reused, error.into_error(), nothing))
    }

    fn received_h2(
        &self,
        job: &mut Job<'_>,
        endpoint: &Endpoint,
        reused: bool,
        sent: Option<Result<Response<Incoming>, hyper::client::conn::TrySendError<http::Request<Body>>>>,
        place: &H2Lease,
    ) -> Result<Response<Incoming>, Failure> {
        let goodbye = matches!(&sent, Some(Err(error)) if faults::goodbye(error.error()));
        if goodbye {
            place.retire();
        }
        self.received(job, endpoint, reused, sent)
    }

    /// The client's own fault where its body broke, else the endpoint's.
    fn failed(&self, job: &mut Job<'_>, endpoint: &Endpoint, reused: bool, error: hyper::Error, unsent: bool) -> Failure {
        if let Some(fault) = job.upload.as_ref().and_then(|upload| upload.take_fault()) {
            return Failure::last(fault);
        }
        let fault = faults::send(error, unsent, self.place(endpoint));
        let whole = job.whole();
        let next = job.course.after_send(&fault, reused, whole);
        Failure { fault, next }
    }
}

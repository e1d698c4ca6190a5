//! What the health and the admin port answer.

use std::future::{Ready, ready};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::json;
use tower::{BoxError, Service};

use crate::observe::{Observer, Readiness, time};

/// Plain text.
pub(crate) const TEXT: &str = "text/plain; charset=utf-8";
/// JSON.
pub(crate) const JSON: &str = "application/json";
/// OpenMetrics.
pub(crate) const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Answer = Result<Response<Full<Bytes>>, BoxError>;
type Handler = fn(&Observer) -> Answer;

/// The paths of a port, and who answers.
pub(super) type Paths = [(&'static str, Handler)];

/// The health port: on the node's address, nothing that is secret.
pub(super) static HEALTH: [(&str, Handler); 4] =
    [("/livez", livez), ("/readyz", readyz), ("/metrics", metrics), ("/generation", generation)];

/// The admin port: loopback only.
pub(super) static ADMIN: [(&str, Handler); 3] = [("/snapshot", snapshot), ("/faults", faults), ("/generation", generation)];

/// Finds the handler of a path.
#[derive(Clone)]
pub(super) struct Router {
    paths: &'static Paths,
    observer: Weak<Observer>,
}

impl Router {
    /// A router for some paths.
    pub(super) fn new(paths: &'static Paths, observer: Weak<Observer>) -> Self {
        Self { paths, observer }
    }

    fn answer<B>(&self, request: &Request<B>) -> Answer {
        let Some((_, handler)) = self.paths.iter().find(|(path, _)| *path == request.uri().path()) else {
            let all: Vec<_> = self.paths.iter().map(|(path, _)| *path).collect();
            return Ok(respond(StatusCode::NOT_FOUND, TEXT, format!("no such page; there are {}\n", all.join(", "))));
        };
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = respond(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n");
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Ok(response);
        }
        match self.observer.upgrade() {
            Some(observer) => handler(&observer),
            None => Ok(respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, "the proxy has stopped\n")),
        }
    }
}

impl<B> Service<Request<B>> for Router {
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = Ready<Answer>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ready(self.answer(&request))
    }
}

/// A whole response.
pub(crate) fn respond(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[expect(clippy::unnecessary_wraps, reason = "all handlers have one type")]
fn livez(_: &Observer) -> Answer {
    Ok(respond(StatusCode::OK, TEXT, "ok\n"))
}

#[expect(clippy::unnecessary_wraps, reason = "all handlers have one type")]
fn readyz(observer: &Observer) -> Answer {
    if let (Readiness::Ready, Some(written)) = (observer.readiness(), observer.standing().last_good) {
        let written = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(written)).map_or_else(String::new, time::rfc3339);
        let text = format!("ok: serving the last good state, written {written}; the API server hasn't answered yet\n");
        return Ok(respond(StatusCode::OK, TEXT, text));
    }
    let (status, text) = match observer.readiness() {
        Readiness::Starting => (StatusCode::SERVICE_UNAVAILABLE, "not ready: nothing has been published yet\n"),
        Readiness::Ready => (StatusCode::OK, "ok\n"),
        Readiness::Draining => (StatusCode::SERVICE_UNAVAILABLE, "not ready: stopping, and draining what is in flight\n"),
    };
    Ok(respond(status, TEXT, text))
}

fn metrics(observer: &Observer) -> Answer {
    let published = observer.current();
    if let Some(published) = &published {
        observer.metrics.prune(&published.snapshot);
    }
    let text = observer.metrics.scrape(published, observer.readiness(), observer.standing()).text()?;
    Ok(respond(StatusCode::OK, OPEN_METRICS, text))
}

fn generation(observer: &Observer) -> Answer {
    let body = match observer.current() {
        Some(published) => json!({
            "generation": published.generation,
            "digest": published.digest.to_string(),
            "published": time::rfc3339(published.at),
        }),
        None => json!({ "generation": 0, "digest": null, "published": null }),
    };
    Ok(respond(StatusCode::OK, JSON, serde_json::to_vec(&body)?))
}

fn snapshot(observer: &Observer) -> Answer {
    let Some(published) = observer.current() else {
        return Ok(respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, "nothing has been published yet\n"));
    };
    let mut response = respond(StatusCode::OK, JSON, serde_json::to_vec(&*published.snapshot)?);
    let digest = HeaderValue::try_from(format!("\"{}\"", published.digest))?;
    response.headers_mut().insert(header::ETAG, digest);
    Ok(response)
}

fn faults(observer: &Observer) -> Answer {
    let published: Option<Arc<_>> = observer.current();
    let faults: Vec<_> = published.iter().flat_map(|published| published.snapshot.faults()).collect();
    let listeners: Vec<_> = published.iter().flat_map(|published| &published.unavailable).collect();
    Ok(respond(StatusCode::OK, JSON, serde_json::to_vec(&json!({ "faults": faults, "listeners": listeners }))?))
}

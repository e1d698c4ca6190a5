//! What goes wrong between us and an endpoint, as request faults: which backend, which endpoint, what to check.

use std::error::Error;
use std::net::SocketAddr;

use rust_ingress_model::BackendKey;
use tower::load_shed::error::Overloaded;

use crate::fault::{Kind, RequestFault, Retry};
use crate::upstream::ConnectError;

/// Where an attempt went, for messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) backend: &'a BackendKey,
    pub(crate) endpoint: SocketAddr,
}

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "endpoint {} of backend {}", self.endpoint, self.backend)
    }
}

/// What tower's layers return: our own fault, boxed, or their own.
pub(super) fn of_layers(error: tower::BoxError) -> RequestFault {
    if error.is::<Overloaded>() {
        let message = "too many requests wait for endpoints on this worker; see which endpoints are slow, or add workers";
        return RequestFault::new(Kind::Overloaded, message).retry(Retry::Unsent);
    }
    error.downcast().map_or_else(
        |other| RequestFault::new(Kind::Internal, "the forward path failed; report this as a defect").source(other),
        |fault| *fault,
    )
}

/// No connection. Nothing was sent.
pub(super) fn connect(error: ConnectError, place: Place<'_>) -> RequestFault {
    let (kind, message) = match &error {
        ConnectError::Settings(wrong) => {
            (Kind::UpstreamTls, format!("TLS towards {} can't be set up: {wrong}; check its TLS settings", place.backend))
        }
        ConnectError::Tcp(io) => {
            (Kind::ConnectFailed, format!("no connection to {place}: {io}; check that the Pod listens on that port"))
        }
        ConnectError::Tls(io) => (
            Kind::UpstreamTls,
            format!("the TLS handshake with {place} failed: {io}; check its certificate and the backend protocol"),
        ),
        ConnectError::Alpn => (Kind::UpstreamTls, format!("{place} doesn't speak HTTP/2 over TLS; check the backend protocol")),
        ConnectError::Timeout => {
            (Kind::ConnectTimeout, format!("no connection to {place} in time; check the network and network policies"))
        }
    };
    RequestFault::new(kind, message).retry(Retry::Unsent).source(error)
}

/// hyper's error while a response's head was awaited.
pub(super) fn send(error: hyper::Error, unsent: bool, place: Place<'_>) -> RequestFault {
    let fault = if error.is_parse() || protocol(&error) { not_http(&error, place) } else { closed(place) };
    let retry = if unsent || refused(&error) { Retry::Unsent } else { Retry::Idempotent };
    fault.retry(retry).source(error)
}

/// What came isn't HTTP.
pub(crate) fn not_http(error: &dyn std::fmt::Display, place: Place<'_>) -> RequestFault {
    let message =
        format!("{place} answered with something that isn't the HTTP it is asked for: {error}; check the backend protocol");
    RequestFault::new(Kind::UpstreamProtocol, message)
}

/// The connection ended where a response's head should have come.
pub(crate) fn closed(place: Place<'_>) -> RequestFault {
    let message = format!("{place} closed the connection before its response; see the endpoint's log");
    RequestFault::new(Kind::UpstreamReset, message)
}

/// No response head in time.
pub(crate) fn slow(place: Place<'_>) -> RequestFault {
    let message =
        format!("{place} took the request and sent no response head in time; see what it waits for, or raise the timeout");
    RequestFault::new(Kind::ResponseTimeout, message)
}

fn h2(error: &hyper::Error) -> Option<&h2::Error> {
    let mut next = error.source();
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// The endpoint says that it didn't look at the request (RFC 9113 §8.7).
fn refused(error: &hyper::Error) -> bool {
    h2(error).is_some_and(|error| error.reason() == Some(h2::Reason::REFUSED_STREAM) && error.is_remote())
}

/// The endpoint takes no more requests on this connection (GOAWAY), or the connection is gone.
pub(super) fn goodbye(error: &hyper::Error) -> bool {
    h2(error).is_none_or(|error| error.is_go_away() || error.is_io())
}

/// What came over the connection isn't HTTP/2.
fn protocol(error: &hyper::Error) -> bool {
    h2(error).is_some_and(|error| {
        matches!(error.reason(), Some(h2::Reason::PROTOCOL_ERROR | h2::Reason::FRAME_SIZE_ERROR | h2::Reason::COMPRESSION_ERROR))
    })
}

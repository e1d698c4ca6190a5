//! Answers: a request fault turned into a response, in the one place that does it, and an endpoint's response made fit
//! for the next hop. Called by `lifecycle` as its last stage.

use std::fmt::Write;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode, Version};

use crate::body::Body;
use crate::fault::{Blame, Kind, RequestFault};
use crate::headers::strip_hop;

/// What an answer of ours calls its maker.
const SERVER: HeaderValue = HeaderValue::from_static("rust-ingress");

/// What the form of an answer depends on; taken from the request before it is consumed.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// `HEAD`: no body.
    head: bool,
    /// gRPC: errors are trailers-only responses.
    grpc: bool,
}

impl Asked {
    /// What a request asks for.
    pub fn of(method: &Method, version: Version, headers: &HeaderMap) -> Self {
        let grpc = version == Version::HTTP_2
            && headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
        Self { head: *method == Method::HEAD, grpc }
    }

    /// What an HTTP/1 request asks for.
    pub fn h1(head: bool) -> Self {
        Self { head, grpc: false }
    }
}

/// The response to a fault: plain text, or a gRPC status for gRPC requests.
///
/// The message is shown where the client can do something about it, or where it says which backend is missing;
/// what happened between us and an endpoint is for the access log.
pub fn fault(fault: &RequestFault, asked: Asked) -> Response<Body> {
    let shown = if shows_message(fault.kind) { &*fault.message } else { fault.kind.label() };
    if asked.grpc {
        return grpc_status(fault.status, shown);
    }
    let reason = fault.status.canonical_reason().unwrap_or("Error");
    let text = format!("{} {reason}: {shown}\n", fault.status.as_u16());
    let mut response = Response::new(if asked.head { Body::empty() } else { Body::full(text.clone()) });
    *response.status_mut() = fault.status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(text.len()));
    if fault.status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    }
    if fault.kind == Kind::Overloaded {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    ours(response)
}

/// Marks a response that we made ourselves.
pub fn ours(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(header::SERVER, SERVER);
    response
}

fn shows_message(kind: Kind) -> bool {
    let missing = matches!(
        kind,
        Kind::NoEndpoints | Kind::BackendInvalid | Kind::ResolveFailed | Kind::GuardUnavailable | Kind::FilterInvalid
    );
    missing || kind.blame() == Blame::Client
}

/// A trailers-only response with the status that gRPC's HTTP mapping gives
/// (grpc/grpc `doc/http-grpc-status-mapping.md`; sizes are RESOURCE_EXHAUSTED).
fn grpc_status(status: StatusCode, message: &str) -> Response<Body> {
    let code = match status.as_u16() {
        400 | 431 => 13,
        401 => 16,
        403 => 7,
        404 | 405 => 12,
        413 => 8,
        408 | 429 | 502..=504 => 14,
        _ => 2,
    };
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from(code));
    if let Ok(message) = HeaderValue::try_from(percent_encoded(message)) {
        headers.insert("grpc-message", message);
    }
    ours(response)
}

/// gRPC's percent encoding: printable ASCII but `%` stays (PROTOCOL-HTTP2, Status-Message).
fn percent_encoded(message: &str) -> String {
    message.bytes().fold(String::with_capacity(message.len()), |mut text, byte| {
        match byte {
            b' '..=b'~' if byte != b'%' => text.push(char::from(byte)),
            // Writing to a String can't fail.
            _ => drop(write!(text, "%{byte:02X}")),
        }
        text
    })
}

/// Takes what belongs to one hop out of an endpoint's response. A 101 keeps its `Upgrade`.
pub fn from_upstream(status: StatusCode, headers: &mut HeaderMap) {
    strip_hop(headers, status == StatusCode::SWITCHING_PROTOCOLS);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn asked(method: &Method, version: Version, content_type: &'static str) -> Asked {
        let headers = [(header::CONTENT_TYPE, HeaderValue::from_static(content_type))].into_iter().collect();
        Asked::of(method, version, &headers)
    }

    #[test]
    fn a_fault_names_its_status_and_what_the_client_may_know() {
        let plain = asked(&Method::GET, Version::HTTP_11, "text/plain");
        let missing = fault(&RequestFault::new(Kind::NoEndpoints, "Service default/web has no ready endpoint"), plain);
        assert_eq!(missing.status(), 503);
        let text = "503 Service Unavailable: Service default/web has no ready endpoint\n";
        assert_eq!(missing.headers()[header::CONTENT_LENGTH], text.len().to_string());
        assert_eq!(missing.headers()[header::SERVER], "rust-ingress");
        let inner = fault(&RequestFault::new(Kind::ConnectFailed, "10.1.2.3:80 refused"), plain);
        assert_eq!(inner.headers()[header::CONTENT_LENGTH], "502 Bad Gateway: connect_failed\n".len().to_string());
    }

    #[test]
    fn head_has_the_length_and_no_body() {
        let answer = fault(&RequestFault::new(Kind::RouteNotFound, "no route"), asked(&Method::HEAD, Version::HTTP_11, "a/b"));
        assert!(http_body::Body::is_end_stream(answer.body()));
        assert!(answer.headers().contains_key(header::CONTENT_LENGTH));
    }

    #[test]
    fn grpc_gets_a_status_in_the_head() {
        let answer = fault(
            &RequestFault::new(Kind::NoEndpoints, "100% gone\n"),
            asked(&Method::POST, Version::HTTP_2, "application/grpc+proto"),
        );
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["grpc-status"], "14");
        assert_eq!(answer.headers()["grpc-message"], "100%25 gone%0A");
    }
}

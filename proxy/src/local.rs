//! Requests that are for the proxy itself: `OPTIONS *`, and `Max-Forwards: 0` (RFC 9110 §7.6.2). Called by `lifecycle`.

use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Response};

use crate::body::Body;
use crate::fault::{Kind, RequestFault};
use crate::respond;

/// What clients of a route may use; a route may take fewer.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE");

/// Answers a request for the proxy itself; counts `Max-Forwards` down on others.
///
/// # Errors
/// `Max-Forwards` that isn't one number.
pub fn answer(parts: &mut Parts) -> Result<Option<Response<Body>>, RequestFault> {
    if parts.method != Method::OPTIONS && parts.method != Method::TRACE {
        return Ok(None);
    }
    if parts.uri.path() == "*" {
        return Ok(Some(options()));
    }
    let left = match parts.headers.get(header::MAX_FORWARDS) {
        None => return Ok(None),
        Some(value) => value.to_str().ok().and_then(|text| text.parse::<u32>().ok()),
    };
    match left {
        None => Err(RequestFault::new(Kind::BadRequest, "Max-Forwards isn't one number")),
        Some(0) if parts.method == Method::TRACE => Ok(Some(trace(parts))),
        Some(0) => Ok(Some(options())),
        Some(left) => {
            parts.headers.insert(header::MAX_FORWARDS, HeaderValue::from(left - 1));
            Ok(None)
        }
    }
}

fn options() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert(header::ALLOW, METHODS);
    respond::ours(response)
}

/// The request as it came here, without what proves who the client is (RFC 9110 §9.3.8).
fn trace(parts: &Parts) -> Response<Body> {
    const SECRETS: [HeaderName; 3] = [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION];
    let mut text = format!("TRACE {} {:?}\r\n", parts.uri, parts.version).into_bytes();
    for (name, value) in parts.headers.iter().filter(|(name, _)| !SECRETS.contains(name)) {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
    let mut response = Response::new(Body::full(text));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("message/http"));
    respond::ours(response)
}

//! A request's head as the endpoint's protocol wants it. Called by `job` for every attempt's protocol.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Uri, Version};

use crate::fault::{Kind, RequestFault};

/// Fields that HTTP/2 forbids (RFC 9113 §8.2.2).
const NOT_IN_H2: [HeaderName; 5] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Settles what doesn't depend on the endpoint.
pub(super) fn settle(parts: &mut Parts) {
    // The client's connection belongs to the server's part: nothing of it goes on.
    parts.extensions.clear();
    // We read the body, so hyper has asked the client to go on already.
    parts.headers.remove(header::EXPECT);
}

/// Brings a head into the form of HTTP/1.1: origin form, `Host`, one `Cookie`, framing as the body's length says.
pub(super) fn h1(parts: &mut Parts, length: Option<u64>, empty: bool) -> Result<(), RequestFault> {
    parts.version = Version::HTTP_11;
    if !parts.headers.contains_key(header::HOST)
        && let Some(authority) = parts.uri.authority()
    {
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| bad_authority())?;
        parts.headers.insert(header::HOST, host);
    }
    if parts.uri.scheme().is_some() || parts.uri.authority().is_some() {
        parts.uri = Uri::from(path(parts));
    }
    join_cookies(&mut parts.headers);
    if !empty {
        frame(&mut parts.headers, length);
    }
    Ok(())
}

/// hyper takes a GET or HEAD of unknown length for one without a body unless the head says otherwise.
fn frame(headers: &mut HeaderMap, length: Option<u64>) {
    match length {
        Some(length) => {
            headers.remove(header::TRANSFER_ENCODING);
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        None => {
            headers.remove(header::CONTENT_LENGTH);
            headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    }
}

/// Brings a head into the form of HTTP/2: `:scheme` and `:authority`, no fields of a connection.
pub(super) fn h2(parts: &mut Parts, tls: bool) -> Result<(), RequestFault> {
    parts.version = Version::HTTP_2;
    let authority = match parts.headers.remove(header::HOST) {
        Some(host) => Authority::try_from(host.as_bytes()).map_err(|_| bad_authority())?,
        None => parts.uri.authority().cloned().ok_or_else(bad_authority)?,
    };
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(if tls { Scheme::HTTPS } else { Scheme::HTTP });
    uri.authority = Some(authority);
    uri.path_and_query = Some(path(parts));
    parts.uri = Uri::from_parts(uri).map_err(|_| bad_authority())?;
    for name in &NOT_IN_H2 {
        parts.headers.remove(name);
    }
    if parts.headers.get(header::TE).is_some_and(|te| te != "trailers") {
        parts.headers.remove(header::TE);
    }
    Ok(())
}

fn path(parts: &Parts) -> PathAndQuery {
    parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"))
}

/// HTTP/2 may split cookies over several fields; HTTP/1 wants one (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut all = headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(second)) = (all.next(), all.next()) else { return };
    let mut joined = first.as_bytes().to_vec();
    for crumb in [second].into_iter().chain(all) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(crumb.as_bytes());
    }
    // Valid pieces with "; " between them are a valid value.
    if let Ok(joined) = HeaderValue::from_bytes(&joined) {
        headers.insert(header::COOKIE, joined);
    }
}

fn bad_authority() -> RequestFault {
    RequestFault::new(
        Kind::BadRequest,
        "the request's host can't be sent to an endpoint; check the Host header or the route's rewrite",
    )
}

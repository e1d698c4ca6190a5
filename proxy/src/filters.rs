//! Guards and filters: what a rule does to a request before it is forwarded, and to the response on its way back.
//!
//! `lifecycle` calls [`guards`], then [`request`] with the rule's filters; `forward` calls [`request`] again with the
//! filters of the backend it draws; `respond` calls [`response`]. Guards and Wasm filters fail closed.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Response, StatusCode};
use rust_ingress_model::filter::{HeaderChange, PathChange, Redirect, Rewrite};
use rust_ingress_model::{Filter, Guard, NativeFilter};

use crate::body::Body;
use crate::cors;
use crate::exchange::Exchange;
use crate::fault::{Kind, RequestFault};

/// What a filter may want to know beyond the request's head.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// Whether the client came over TLS.
    pub tls: bool,
    /// The port the client connected to.
    pub port: u16,
    /// The prefix by which the rule was matched; `None` for exact paths and regular expressions.
    pub prefix: Option<&'a str>,
}

/// Whether the request goes on.
#[expect(clippy::large_enum_variant, reason = "returned once and taken apart at once; a box would cost an allocation")]
pub enum Flow {
    /// To the next stage.
    Continue,
    /// No: this is the answer.
    Answer(Response<Body>),
}

/// Asks a rule's guards. A guard that can't be built refuses every request.
///
/// # Errors
/// [`Kind::GuardUnavailable`] (503), with the guard's name as the exchange's flag.
pub fn guards(guards: &[Guard], exchange: &mut Exchange) -> Result<(), RequestFault> {
    match guards.first() {
        None => Ok(()),
        Some(Guard::Unavailable { flag, reason }) => {
            exchange.flag = Some(flag.clone());
            Err(RequestFault::new(Kind::GuardUnavailable, reason.clone()))
        }
    }
}

/// Runs filters over a request's head, in order.
///
/// The URI is in origin form and `Host` holds the authority, as the gate leaves them.
///
/// # Errors
/// [`Kind::FilterInvalid`] for a filter that can't be run: its own status, or 503 for a Wasm filter without a host.
pub fn request(filters: &[Filter], parts: &mut Parts, scene: &Scene<'_>) -> Result<Flow, RequestFault> {
    for filter in filters {
        match filter {
            Filter::Native(NativeFilter::Redirect(redirect)) if redirect.only_plain && scene.tls => {}
            Filter::Native(NativeFilter::Redirect(redirect)) => {
                return location(redirect, parts, scene).and_then(|to| redirect_to(redirect.status, to));
            }
            Filter::Native(NativeFilter::RequestHeaders(change)) => change_headers(change, &mut parts.headers)?,
            Filter::Native(NativeFilter::ResponseHeaders(_) | NativeFilter::Mirror(_)) => {}
            Filter::Native(NativeFilter::Cors(cors)) => {
                if let Some(answer) = cors::preflight(cors, parts) {
                    return Ok(Flow::Answer(answer));
                }
            }
            Filter::Native(NativeFilter::Rewrite(change)) => rewrite(change, parts, scene)?,
            Filter::Wasm { plugin } => {
                let message = format!("the plugin {plugin} of this route isn't served by this program; remove it from the route");
                return Err(invalid(message).status(StatusCode::SERVICE_UNAVAILABLE));
            }
            Filter::Invalid { status, reason } => {
                let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                return Err(invalid(reason.clone()).status(status));
            }
        }
    }
    Ok(Flow::Continue)
}

/// Runs filters over a response's headers, in order.
///
/// # Errors
/// [`Kind::FilterInvalid`] for a header that can't be written.
pub fn response(filters: &[Filter], headers: &mut HeaderMap) -> Result<(), RequestFault> {
    for filter in filters {
        if let Filter::Native(NativeFilter::ResponseHeaders(change)) = filter {
            change_headers(change, headers)?;
        }
    }
    Ok(())
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> RequestFault {
    RequestFault::new(Kind::FilterInvalid, message)
}

fn change_headers(change: &HeaderChange, headers: &mut HeaderMap) -> Result<(), RequestFault> {
    for (name, value) in &change.set {
        headers.insert(header_name(name)?, header_value(value)?);
    }
    for (name, value) in &change.add {
        headers.append(header_name(name)?, header_value(value)?);
    }
    for name in &change.remove {
        headers.remove(header_name(name)?);
    }
    Ok(())
}

fn header_name(name: &str) -> Result<HeaderName, RequestFault> {
    HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| invalid(format!("the route's filter names the header {name:?}, which isn't a header name")))
}

fn header_value(value: &str) -> Result<HeaderValue, RequestFault> {
    HeaderValue::from_bytes(value.as_bytes())
        .map_err(|_| invalid(format!("the route's filter sets a header to {value:?}, which isn't a header value")))
}

fn rewrite(change: &Rewrite, parts: &mut Parts, scene: &Scene<'_>) -> Result<(), RequestFault> {
    if let Some(host) = &change.host {
        parts.headers.insert(header::HOST, header_value(host)?);
    }
    let Some(path) = &change.path else { return Ok(()) };
    let target = with_query(&changed_path(path, parts.uri.path(), scene.prefix), parts.uri.query());
    let target = PathAndQuery::try_from(target)
        .map_err(|error| invalid("the route's filter rewrites the path to one that can't be sent").source(error))?;
    parts.uri = target.into();
    Ok(())
}

/// A path after its change. The matched prefix is replaced element by element (Gateway API HTTPPathModifier).
fn changed_path(change: &PathChange, path: &str, prefix: Option<&str>) -> String {
    match (change, prefix) {
        (PathChange::Full(full), _) => full.to_string(),
        (PathChange::Prefix(_), None) => path.into(),
        (PathChange::Prefix(new), Some(prefix)) => {
            let stem = prefix.strip_suffix('/').unwrap_or(prefix);
            let rest = path.strip_prefix(stem).unwrap_or_default();
            let changed = format!("{}{rest}", new.strip_suffix('/').unwrap_or(new));
            if changed.is_empty() { "/".into() } else { changed }
        }
    }
}

fn with_query(path: &str, query: Option<&str>) -> String {
    query.map_or_else(|| path.into(), |query| format!("{path}?{query}"))
}

/// The `Location` of a redirect.
fn location(redirect: &Redirect, parts: &Parts, scene: &Scene<'_>) -> Result<String, RequestFault> {
    let scheme = redirect.scheme.as_deref().unwrap_or(if scene.tls { "https" } else { "http" });
    let authority = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let host = redirect.host.as_deref().unwrap_or_else(|| without_port(authority));
    if host.is_empty() {
        return Err(RequestFault::new(Kind::BadRequest, "the request has no Host to be redirected to; send one"));
    }
    // Without a port of its own: the scheme's when a scheme is named, else the listener's (Gateway API).
    let own = if scheme == "https" { 443 } else { 80 };
    let port = redirect.port.unwrap_or(if redirect.scheme.is_some() { own } else { scene.port });
    let path = redirect.path.as_ref().map(|path| changed_path(path, parts.uri.path(), scene.prefix));
    let target = with_query(path.as_deref().unwrap_or_else(|| parts.uri.path()), parts.uri.query());
    Ok(if port == own { format!("{scheme}://{host}{target}") } else { format!("{scheme}://{host}:{port}{target}") })
}

/// An authority's host; the brackets of an IPv6 address stay.
fn without_port(authority: &str) -> &str {
    match authority.rfind(':') {
        Some(colon) if !authority.ends_with(']') => authority.get(..colon).unwrap_or(authority),
        _ => authority,
    }
}

fn redirect_to(status: u16, location: String) -> Result<Flow, RequestFault> {
    let location =
        HeaderValue::try_from(location).map_err(|error| invalid("the redirect's Location can't be sent").source(error))?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::FOUND);
    response.headers_mut().insert(header::LOCATION, location);
    Ok(Flow::Answer(response))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn parts(host: &str, uri: &str) -> Parts {
        http::Request::builder().uri(uri).header("host", host).body(()).unwrap().into_parts().0
    }

    fn redirect() -> Redirect {
        Redirect { scheme: None, host: None, port: None, path: None, status: 308, only_plain: false }
    }

    const PLAIN: Scene<'_> = Scene { tls: false, port: 8080, prefix: Some("/foo") };

    #[test]
    fn a_redirect_to_https_names_the_port_only_where_it_is_not_443() {
        let to = |port| Redirect { scheme: Some("https".into()), port, ..redirect() };
        let request = parts("a.example:8080", "/foo/bar?q=1");
        assert_eq!(location(&to(None), &request, &PLAIN).unwrap(), "https://a.example/foo/bar?q=1");
        assert_eq!(location(&to(Some(8443)), &request, &PLAIN).unwrap(), "https://a.example:8443/foo/bar?q=1");
    }

    #[test]
    fn a_redirect_without_a_scheme_keeps_the_listeners_port() {
        let request = parts("[::1]:8080", "/foo");
        assert_eq!(location(&redirect(), &request, &PLAIN).unwrap(), "http://[::1]:8080/foo");
    }

    #[test]
    fn a_redirect_for_plain_requests_lets_tls_pass() {
        let filter = [Filter::Native(NativeFilter::Redirect(Redirect { only_plain: true, ..redirect() }))];
        let mut request_parts = parts("a", "/");
        assert!(matches!(request(&filter, &mut request_parts, &Scene { tls: true, ..PLAIN }), Ok(Flow::Continue)));
        assert!(matches!(request(&filter, &mut request_parts, &PLAIN), Ok(Flow::Answer(answer)) if answer.status() == 308));
    }

    #[test]
    fn a_prefix_is_replaced_element_by_element_and_the_query_stays() {
        for (new, uri, expected) in [
            ("/bar", "/foo/x?q", "/bar/x?q"),
            ("/bar", "/foo", "/bar"),
            ("/", "/foo/x", "/x"),
            ("/", "/foo", "/"),
            ("/bar/", "/foo/x", "/bar/x"),
        ] {
            let mut parts = parts("a", uri);
            rewrite(&Rewrite { host: None, path: Some(PathChange::Prefix(new.into())) }, &mut parts, &PLAIN).unwrap();
            assert_eq!(parts.uri.to_string(), expected);
        }
    }

    #[test]
    fn wasm_and_invalid_filters_fail_closed() {
        let refused = |filter| request(&[filter], &mut parts("a", "/"), &PLAIN).err().map(|fault| fault.status.as_u16());
        assert_eq!(refused(Filter::Wasm { plugin: "default/auth".into() }), Some(503));
        assert_eq!(refused(Filter::Invalid { status: 500, reason: "no such filter".into() }), Some(500));
    }
}

//! CORS: what scripts of other origins are told (Fetch standard; Gateway API HTTPCORSFilter). Called by `filters` and `lifecycle`.
//!
//! A preflight is answered here; other requests go on, and their responses say that the origin may read them. The origin that
//! asks is named, never `*`: so a cache keeps one answer per origin, and cookies may come along where the route says so.

use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use rust_ingress_model::filter::Cors;
use rust_ingress_model::{Filter, Name, NativeFilter};

use crate::body::Body;

/// The answer to a preflight; `None`: the request isn't one.
pub fn preflight(cors: &Cors, parts: &Parts) -> Option<Response<Body>> {
    let method = parts.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
    if parts.method != Method::OPTIONS || !parts.headers.contains_key(header::ORIGIN) {
        return None;
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    let Some(allowed) = allowed(cors, &parts.headers) else { return Some(response) };
    headers.extend(allowed);
    let asked = parts.headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS);
    let lists = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, listed(&cors.methods, Some(method))),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, listed(&cors.headers, asked)),
        (header::ACCESS_CONTROL_MAX_AGE, Some(HeaderValue::from(cors.max_age_s))),
    ];
    for (name, value) in lists {
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
    Some(response)
}

/// What the response to a request says of its origin, where a filter lets that read it.
///
/// Boxed: it waits for the response, and few requests have it.
pub fn granted(filters: &[Filter], headers: &HeaderMap) -> Option<Box<HeaderMap>> {
    filters.iter().find_map(|filter| match filter {
        Filter::Native(NativeFilter::Cors(cors)) => allowed(cors, headers).map(Box::new),
        _ => None,
    })
}

fn allowed(cors: &Cors, headers: &HeaderMap) -> Option<HeaderMap> {
    let origin = headers.get(header::ORIGIN)?;
    let text = origin.to_str().ok()?;
    cors.origins.iter().any(|pattern| takes(pattern, text)).then(|| {
        let mut said = HeaderMap::new();
        said.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        if cors.credentials {
            said.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        if let Some(names) = listed(&cors.expose, None) {
            said.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, names);
        }
        said
    })
}

/// A list of names; where a star is among them, what was asked for.
fn listed(names: &[Name], asked: Option<&HeaderValue>) -> Option<HeaderValue> {
    if names.iter().any(|name| **name == *"*") && asked.is_some() {
        return asked.cloned();
    }
    let text = names.iter().map(|name| &**name).collect::<Vec<_>>().join(", ");
    HeaderValue::try_from(text).ok().filter(|text| !text.is_empty())
}

/// Whether a pattern stands for an origin. Scheme and host don't care for case.
fn takes(pattern: &str, origin: &str) -> bool {
    let (pattern, origin) = (pattern.to_ascii_lowercase(), origin.to_ascii_lowercase());
    match pattern.split_once("://*.") {
        _ if pattern == "*" => true,
        None => pattern == origin,
        Some((scheme, suffix)) => {
            let host = origin.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://"));
            host.and_then(|host| host.strip_suffix(suffix)).is_some_and(|label| label.len() > 1 && label.ends_with('.'))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins() {
        for (pattern, origin, expected) in [
            ("*", "https://a", true),
            ("https://a.com", "https://A.com", true),
            ("https://a.com", "http://a.com", false),
            ("https://*.a.com", "https://b.a.com", true),
            ("https://*.a.com", "https://c.b.a.com", true),
            ("https://*.a.com", "https://a.com", false),
            ("https://*.a.com", "https://ba.com", false),
            ("https://*.a.com:8443", "https://b.a.com:8443", true),
            ("https://*.a.com", "https://b.a.com:8443", false),
        ] {
            assert_eq!(takes(pattern, origin), expected, "{pattern} {origin}");
        }
    }
}

//! What a parsed head must be, for every version, and its normal form: one host, one path, no headers that pose as ours.
//!
//! The life of a request calls [`admit`] first. It changes the head in place, so that what was matched is what is forwarded:
//! afterwards the URI is a path and query (or `*`), `Host` is there once, and the host is known in lower case.

use std::borrow::Cow;
use std::net::{Ipv6Addr, SocketAddr};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, StatusCode, Uri, Version};
use rust_ingress_model::{Name, RequestHead};

use crate::fault::{self, RequestFault};
use crate::gate::path;
use crate::headers::Kind;

/// A `Host` as sent and what it means. Kept per connection: clients repeat it.
#[derive(Debug, Clone)]
pub struct Authority {
    /// `Host` as sent, with its port.
    pub field: HeaderValue,
    /// The name: lower case, without port and without a trailing dot.
    pub host: Name,
}

/// An admitted head, as the router sees it.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The head after [`admit`].
    pub parts: &'a Parts,
    /// The host.
    pub host: &'a str,
    /// The port that the connection came in on.
    pub port: u16,
}

impl RequestHead for View<'_> {
    fn method(&self) -> &str {
        self.parts.method.as_str()
    }
    fn host(&self) -> &str {
        self.host
    }
    fn path(&self) -> &str {
        self.parts.uri.path()
    }
    fn query(&self) -> Option<&str> {
        self.parts.uri.query()
    }
    fn port(&self) -> u16 {
        self.port
    }
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let mut values = self.parts.headers.get_all(name).iter().map(HeaderValue::as_bytes);
        let first = values.next()?;
        Some(match values.next() {
            None => Cow::Borrowed(first),
            Some(second) => Cow::Owned([first, second].into_iter().chain(values).collect::<Vec<_>>().join(&b","[..])),
        })
    }
}

/// Refuses a head or brings it into its normal form; says which host it is for.
///
/// `known` is the authority of the connection's last request. `local` stands for the host of HTTP/1.0 requests that name none.
///
/// # Errors
/// What is wrong, with the status that answers it.
pub fn admit(parts: &mut Parts, known: Option<&Authority>, local: SocketAddr) -> Result<Authority, RequestFault> {
    if parts.method == Method::CONNECT {
        return Err(RequestFault::new(fault::Kind::MethodNotAllowed, "CONNECT isn't served here"));
    }
    if parts.version >= Version::HTTP_2 {
        check_h2_fields(&parts.headers)?;
    }
    let authority = authority(parts, known, local)?;
    check_expect(&parts.headers)?;
    normalise_target(parts)?;
    drop_impostors(&mut parts.headers);
    Ok(authority)
}

fn bad(message: &'static str) -> RequestFault {
    RequestFault::new(fault::Kind::BadRequest, message)
}

/// RFC 9113 §8.2.2: fields of a connection have no meaning in HTTP/2.
fn check_h2_fields(headers: &HeaderMap) -> Result<(), RequestFault> {
    const CONNECTION: [HeaderName; 5] = [
        header::CONNECTION,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ];
    if CONNECTION.iter().any(|name| headers.contains_key(name)) {
        return Err(bad("an HTTP/2 request has a header that belongs to a connection"));
    }
    match headers.get(header::TE) {
        Some(te) if !te.as_bytes().eq_ignore_ascii_case(b"trailers") => {
            Err(bad("an HTTP/2 request has a TE other than trailers"))
        }
        _ => Ok(()),
    }
}

/// Which authority the request is for (RFC 9112 §3.2, RFC 9113 §8.3.1), leaving it as the one `Host`.
fn authority(parts: &mut Parts, known: Option<&Authority>, local: SocketAddr) -> Result<Authority, RequestFault> {
    let mut fields = parts.headers.get_all(header::HOST).iter();
    let field = fields.next();
    if fields.next().is_some() {
        return Err(bad("the request has more than one Host"));
    }
    let Some(target) = parts.uri.authority() else {
        let Some(field) = field else {
            return without_host(parts, local);
        };
        return match known {
            Some(known) if known.field == *field => Ok(known.clone()),
            _ => parse_authority(field),
        };
    };
    // The target's authority wins over Host in absolute form; in HTTP/2 both must be the same.
    if parts.version >= Version::HTTP_2
        && field.is_some_and(|field| !field.as_bytes().eq_ignore_ascii_case(target.as_str().as_bytes()))
    {
        return Err(bad("Host differs from :authority"));
    }
    if parts.version < Version::HTTP_2 {
        if field.is_none() && parts.version == Version::HTTP_11 {
            return Err(bad("the request has no Host"));
        }
        if !matches!(parts.uri.scheme_str(), Some("http" | "https")) {
            return Err(bad("the request target has a scheme other than http and https"));
        }
    }
    let authority = match known {
        Some(known) if known.field.as_bytes() == target.as_str().as_bytes() => known.clone(),
        _ => parse_authority(&HeaderValue::from_str(target.as_str()).map_err(|_| bad("the request's authority isn't a host"))?)?,
    };
    parts.headers.insert(header::HOST, authority.field.clone());
    Ok(authority)
}

/// HTTP/1.0 requests may name no host; they are for whoever takes all hosts.
fn without_host(parts: &mut Parts, local: SocketAddr) -> Result<Authority, RequestFault> {
    if parts.version != Version::HTTP_10 {
        return Err(bad("the request has no Host"));
    }
    let field = HeaderValue::from_str(&local.to_string()).map_err(|_| bad("the request has no Host"))?;
    parts.headers.insert(header::HOST, field.clone());
    Ok(Authority { field, host: "".into() })
}

/// Reads `host[:port]`.
///
/// # Errors
/// It is neither a name nor an address, or its port is none.
pub fn parse_authority(field: &HeaderValue) -> Result<Authority, RequestFault> {
    const BAD: &str = "Host isn't a host name or address with an optional port";
    let text = field.to_str().map_err(|_| bad(BAD))?;
    let end = if text.starts_with('[') { text.find(']').map(|end| end + 1) } else { text.find(':') };
    let (host, rest) = text.split_at(end.unwrap_or(text.len()));
    let port_holds = match rest.strip_prefix(':') {
        None => rest.is_empty(),
        Some(port) => port.len() <= 5 && port.bytes().all(|digit| digit.is_ascii_digit()) && port.parse::<u16>().is_ok(),
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    let host_holds = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => {
            let letters = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
            letters && !name.is_empty() && name.len() <= 253 && !name.starts_with('.') && !name.ends_with('.')
        }
    };
    if !port_holds || !host_holds {
        return Err(bad(BAD));
    }
    Ok(Authority { field: field.clone(), host: name.to_ascii_lowercase().into() })
}

/// RFC 9110 §10.1.1: an expectation that isn't understood is answered 417.
fn check_expect(headers: &HeaderMap) -> Result<(), RequestFault> {
    match headers.get(header::EXPECT) {
        Some(expect) if !expect.as_bytes().eq_ignore_ascii_case(b"100-continue") => {
            Err(bad("the request expects something other than 100-continue").status(StatusCode::EXPECTATION_FAILED))
        }
        _ => Ok(()),
    }
}

/// Leaves path and query alone in the target, the path in its normal form.
fn normalise_target(parts: &mut Parts) -> Result<(), RequestFault> {
    let uri = &parts.uri;
    if uri.path() == "*" {
        return if parts.method == Method::OPTIONS { Ok(()) } else { Err(bad("the target * is for OPTIONS alone")) };
    }
    if uri.query().is_some_and(|query| query.bytes().any(|byte| byte <= 0x20 || byte >= 0x7f)) {
        return Err(bad("the query has a character that isn't allowed in it"));
    }
    let path = uri.path();
    if !path.is_empty() && !path.starts_with('/') {
        return Err(bad("the request's path doesn't begin with a slash"));
    }
    let normal = path::normalise(path)?;
    if normal.is_none() && !path.is_empty() && uri.authority().is_none() {
        return Ok(());
    }
    let path = normal.as_deref().unwrap_or(if path.is_empty() { "/" } else { path });
    let target = match uri.query() {
        Some(query) => PathAndQuery::try_from(format!("{path}?{query}")),
        None => PathAndQuery::try_from(path),
    };
    parts.uri = Uri::from(target.map_err(|_| bad("the request's target isn't a URI"))?);
    Ok(())
}

/// Drops headers such as `X_Forwarded_For`.
fn drop_impostors(headers: &mut HeaderMap) {
    let poses = |name: &&HeaderName| {
        let name = name.as_str().as_bytes();
        name.iter().any(|byte| matches!(byte, b'_' | b'.')) && Kind::of(name) == Kind::Impostor
    };
    let impostors: Vec<HeaderName> = headers.keys().filter(poses).cloned().collect();
    for name in impostors {
        headers.remove(name);
    }
}

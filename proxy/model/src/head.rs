//! The view of a request's head that the gate and the router work on.
//!
//! Statically dispatched; never `http::Request`, so that hyper's server, a direct HTTP/1 relay and tests can all be routed.

use std::borrow::Cow;

/// Method, authority, path and headers of one request, after the gate.
pub trait RequestHead {
    /// The method, upper case as sent.
    fn method(&self) -> &str;
    /// The host: lower case, without port and without a trailing dot.
    fn host(&self) -> &str;
    /// The path, normalised, beginning with `/` (or `*`), without the query.
    fn path(&self) -> &str;
    /// The query, without `?`.
    fn query(&self) -> Option<&str>;
    /// The port that the connection came in on.
    fn port(&self) -> u16;
    /// The value of a header by its lower-case name; several values are joined by `,` (RFC 9110 §5.3).
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>>;
}

/// A head of plain strings: for `explain`-like tools, tests and benches.
#[derive(Debug, Clone, Default)]
pub struct PlainHead<'a> {
    /// The method.
    pub method: &'a str,
    /// The host.
    pub host: &'a str,
    /// The path.
    pub path: &'a str,
    /// The query.
    pub query: Option<&'a str>,
    /// The port.
    pub port: u16,
    /// Headers, names in lower case.
    pub headers: Vec<(&'a str, &'a str)>,
}

impl RequestHead for PlainHead<'_> {
    fn method(&self) -> &str {
        self.method
    }
    fn host(&self) -> &str {
        self.host
    }
    fn path(&self) -> &str {
        self.path
    }
    fn query(&self) -> Option<&str> {
        self.query
    }
    fn port(&self) -> u16 {
        self.port
    }
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let mut values = self.headers.iter().filter(|(n, _)| *n == name).map(|(_, v)| *v);
        let first = values.next()?;
        Some(match values.next() {
            None => Cow::Borrowed(first.as_bytes()),
            Some(second) => {
                let joined = [first, second].into_iter().chain(values).collect::<Vec<_>>().join(",");
                Cow::Owned(joined.into_bytes())
            }
        })
    }
}

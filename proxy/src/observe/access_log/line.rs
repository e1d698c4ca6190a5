//! One line of the access log: the fields, their names and units. Called by the access log when an exchange has ended.
//!
//! Absent fields are left out. Times are milliseconds with a fraction; sizes are bytes of bodies.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use http::HeaderValue;
use serde::Serialize;

use crate::exchange::Exchange;
use crate::fault::Kind;
use crate::observe::{Finished, time};

/// The fields, in their order.
#[derive(Serialize)]
struct Line<'a> {
    /// When the request's head had been read; RFC 3339, UTC.
    time: String,
    request_id: Cow<'a, str>,
    /// As trusted proxies have it.
    client: IpAddr,
    /// The other end of the connection.
    peer: SocketAddr,
    /// Our end of the connection.
    local: SocketAddr,
    listener: &'a str,
    method: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<&'a str>,
    protocol: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_version: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_cipher: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_server_name: Option<&'a str>,
    /// 0: the client left before one was sent.
    status: u16,
    /// The annotation or policy that refused it, or the fault's kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    flag: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blame: Option<&'static str>,
    /// What the fault says.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    request_bytes: u64,
    response_bytes: u64,
    duration_ms: f64,
    /// The endpoint that answered, or was tried last.
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<SocketAddr>,
    /// From the first byte to the endpoint to its response's head.
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_ms: Option<f64>,
    /// From the request's head to the first byte to the endpoint; with earlier attempts, if there were any.
    overhead_ms: f64,
    retries: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    route_kind: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route_namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route_name: Option<&'a str>,
    /// The field of the route: `spec.rules[0].http.paths[1]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_port: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    referer: Option<Cow<'a, str>>,
}

/// Appends an exchange's line, newline included.
pub(super) fn write(out: &mut Vec<u8>, exchange: &Exchange, finished: &Finished, duration: Duration) {
    let length = out.len();
    match serde_json::to_writer(&mut *out, &line(exchange, finished, duration)) {
        Ok(()) => out.push(b'\n'),
        Err(_) => out.truncate(length),
    }
}

fn line<'a>(exchange: &'a Exchange, finished: &Finished, duration: Duration) -> Line<'a> {
    let connection = &*exchange.connection;
    let tls = connection.tls.as_ref();
    let request = exchange.line.as_deref();
    let route = exchange.route.as_ref().map(|(object, _)| object);
    let backend = exchange.backend.as_ref();
    let between = |from: Instant, to: Instant| milliseconds(to.saturating_duration_since(from));
    Line {
        time: time::rfc3339(SystemTime::now().checked_sub(duration).unwrap_or(SystemTime::UNIX_EPOCH)),
        request_id: text(&exchange.request_id),
        client: exchange.client,
        peer: connection.peer,
        local: connection.local,
        listener: &connection.listener,
        method: exchange.method.as_str(),
        host: request.and_then(|line| match line.uri.authority() {
            Some(authority) => Some(authority.as_str().into()),
            None => line.host.as_ref().map(text),
        }),
        path: request.map(|line| line.uri.path()),
        query: request.and_then(|line| line.uri.query()),
        protocol: exchange.protocol.label(),
        tls_version: tls.map(|tls| tls.version),
        tls_cipher: tls.map(|tls| tls.cipher),
        tls_server_name: tls.and_then(|tls| tls.server_name.as_deref()),
        status: finished.status,
        flag: exchange.flag.as_deref().or_else(|| exchange.fault.map(Kind::label)),
        fault: exchange.fault.map(Kind::label),
        blame: exchange.fault.map(|kind| kind.blame().label()),
        message: exchange.message.as_deref(),
        request_bytes: finished.request_bytes,
        response_bytes: finished.response_bytes,
        duration_ms: milliseconds(duration),
        upstream: exchange.endpoint,
        upstream_ms: exchange.upstream_start.zip(exchange.upstream_head).map(|(start, head)| between(start, head)),
        overhead_ms: exchange.upstream_start.map_or_else(|| milliseconds(duration), |at| between(exchange.start, at)),
        retries: exchange.retries,
        route_kind: route.map(|object| &*object.kind),
        route_namespace: route.map(|object| &*object.namespace),
        route_name: route.map(|object| &*object.name),
        rule: exchange.route.as_ref().map(|(_, field)| &**field),
        service_namespace: backend.map(|backend| &*backend.namespace),
        service_name: backend.map(|backend| &*backend.service),
        service_port: backend.map(|backend| backend.port.to_string()),
        user_agent: request.and_then(|line| line.user_agent.as_ref()).map(text),
        referer: request.and_then(|line| line.referer.as_ref()).map(text),
    }
}

/// A header's text; bytes that aren't UTF-8 become U+FFFD.
fn text(value: &HeaderValue) -> Cow<'_, str> {
    String::from_utf8_lossy(value.as_bytes())
}

/// Milliseconds with a resolution of a microsecond.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e3
}

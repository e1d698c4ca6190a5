//! A request's head as an endpoint gets it, written from the client's bytes: what belongs to one hop, what poses as ours
//! and what a client says of itself stay out, who the client is goes in. What `headers` does for hyper's heads.

use http::header::HeaderValue;

use super::head::Head;
use crate::exchange::Exchange;
use crate::headers::{self, Kind};
use crate::options::Options;

/// What is said of the client in every request of a connection whose word on addresses isn't taken.
#[derive(Debug, Default)]
pub(super) struct Said(Vec<u8>);

/// Which fields of a trusted proxy stay, so that ours don't go in.
#[derive(Default)]
struct Given<'h> {
    host: bool,
    proto: bool,
    port: bool,
    chain: Vec<&'h [u8]>,
}

/// Writes the head. The exchange's client and request id must be settled.
pub(super) fn write(out: &mut Vec<u8>, head: Head<'_>, exchange: &Exchange, options: &Options, said: &mut Said) {
    let believed = headers::trusted(exchange.connection.peer.ip(), &options.trusted_proxies);
    out.extend_from_slice(head.method());
    out.push(b' ');
    out.extend_from_slice(head.target().as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let (mut given, mut host) = (Given::default(), &b""[..]);
    for (kind, name, value) in head.fields() {
        match kind {
            kind if kind.one_hop() => continue,
            Kind::Impostor | Kind::RealIp | Kind::RequestId => continue,
            kind if kind.identity() && !believed => continue,
            Kind::Host => host = value,
            Kind::ForwardedHost => given.host = true,
            Kind::ForwardedProto => given.proto = true,
            Kind::ForwardedPort => given.port = true,
            Kind::ForwardedFor => {
                given.chain.push(value);
                continue;
            }
            _ => {}
        }
        line(out, name, value);
    }
    if options.send_forwarded {
        line(out, b"forwarded", headers::forwarded(exchange, host).as_bytes());
    }
    if !given.host {
        line(out, b"x-forwarded-host", host);
    }
    if believed {
        of_client(out, exchange, &given);
    } else {
        if said.0.is_empty() {
            of_client(&mut said.0, exchange, &given);
        }
        out.extend_from_slice(&said.0);
    }
    line(out, b"x-request-id", HeaderValue::as_bytes(&exchange.request_id));
    out.extend_from_slice(b"\r\n");
}

/// Who the client is, and what it spoke.
fn of_client(out: &mut Vec<u8>, exchange: &Exchange, given: &Given<'_>) {
    let connection = &exchange.connection;
    let peer = connection.peer.ip().to_canonical().to_string();
    if !given.proto {
        line(out, b"x-forwarded-proto", headers::proto(exchange).as_bytes());
    }
    if !given.port {
        line(out, b"x-forwarded-port", connection.local.port().to_string().as_bytes());
    }
    line(out, b"x-real-ip", exchange.client.to_canonical().to_string().as_bytes());
    let chain: Vec<&[u8]> = given.chain.iter().copied().chain([peer.as_bytes()]).collect();
    line(out, b"x-forwarded-for", &chain.join(&b", "[..]));
}

/// Writes a header line.
pub(super) fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

//! Headers towards the endpoint: what belongs to one hop is taken out, who the client is goes in.
//!
//! `lifecycle` calls [`client_address`] when it makes the exchange, [`request_id`] with it, and [`towards_upstream`]
//! before forwarding. Nothing a client says of addresses is believed unless it comes from a trusted proxy.

mod kind;

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};

use http::header::{self, Entry, HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::exchange::Exchange;
use crate::options::Options;
pub use kind::Kind;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Whether a peer's word on addresses is taken.
pub fn trusted(peer: IpAddr, proxies: &[IpNet]) -> bool {
    let peer = peer.to_canonical();
    proxies.iter().any(|proxy| proxy.contains(&peer))
}

/// The lines of `X-Forwarded-For`.
pub fn chain(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers.get_all(X_FORWARDED_FOR).iter().map(HeaderValue::as_bytes)
}

/// The client: the peer, or, behind trusted proxies, the last address of `X-Forwarded-For` that isn't one of them.
pub fn client_address<'h>(peer: IpAddr, chain: impl Iterator<Item = &'h [u8]>, proxies: &[IpNet]) -> IpAddr {
    let peer = peer.to_canonical();
    if proxies.is_empty() || !trusted(peer, proxies) {
        return peer;
    }
    let mut client = peer;
    let lines = chain.filter_map(|line| std::str::from_utf8(line).ok()).collect::<Vec<_>>();
    for hop in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        let Ok(address) = hop.trim().parse::<IpAddr>() else { break };
        client = address.to_canonical();
        if !trusted(client, proxies) {
            break;
        }
    }
    client
}

/// The request's id: a trusted proxy's, or 32 random hexadecimal digits. Nobody can guess the next.
pub fn request_id(given: Option<&[u8]>, believed: bool) -> HeaderValue {
    let given = given.filter(|id| believed && (1..=128).contains(&id.len()));
    given.and_then(|id| HeaderValue::from_bytes(id).ok()).unwrap_or_else(random_id)
}

/// `X-Request-Id` as sent.
pub fn given_id(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get(X_REQUEST_ID).map(HeaderValue::as_bytes)
}

fn random_id() -> HeaderValue {
    // Arithmetic, not a table: the compiler makes vectors of it.
    let digit = |nibble: u8| nibble + if nibble < 10 { b'0' } else { b'a' - 10 };
    let bytes = rand::random::<[u8; 16]>();
    let mut digits = [0u8; 32];
    for (pair, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        *pair = [digit(byte >> 4), digit(byte & 0xf)];
    }
    HeaderValue::from_bytes(&digits).unwrap_or_else(|_| HeaderValue::from_static("0"))
}

/// Makes a client's headers those that an endpoint gets. `upgrade`: the request asks for another protocol and may.
///
/// `Host` stays; the exchange's client and request id must be settled.
pub fn towards_upstream(headers: &mut HeaderMap, exchange: &Exchange, options: &Options, upgrade: bool) {
    let believed = trusted(exchange.connection.peer.ip(), &options.trusted_proxies);
    // hyper makes room for what the client sent; seven more would have the map grow, and hash again, twice.
    let _ = headers.try_reserve(8);
    strip_hop(headers, upgrade);
    if !believed {
        strip_identity(headers);
    }
    let peer = text(exchange.connection.peer.ip().to_canonical());
    if options.send_forwarded {
        add_forwarded(headers, exchange);
    }
    if let Some(host) = headers.get(header::HOST).cloned() {
        or_insert(headers, X_FORWARDED_HOST, host);
    }
    or_insert(headers, X_FORWARDED_PROTO, HeaderValue::from_static(proto(exchange)));
    or_insert(headers, X_FORWARDED_PORT, port_text(exchange.connection.local.port()));
    let client = if exchange.client == exchange.connection.peer.ip() { peer.clone() } else { text(exchange.client) };
    headers.insert(X_REAL_IP, client);
    match headers.entry(X_FORWARDED_FOR) {
        Entry::Vacant(entry) => drop(entry.insert(peer)),
        Entry::Occupied(mut entry) => {
            let joined: Vec<&[u8]> = entry.iter().map(HeaderValue::as_bytes).chain([peer.as_bytes()]).collect();
            if let Ok(chain) = HeaderValue::from_bytes(&joined.join(&b", "[..])) {
                entry.insert(chain);
            }
        }
    }
    headers.insert(X_REQUEST_ID, exchange.request_id.clone());
}

fn or_insert(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) {
    headers.entry(name).or_insert(value);
}

/// An address as text. The last one is kept: the requests of a connection follow each other.
fn text(ip: IpAddr) -> HeaderValue {
    thread_local! {
        static LAST: RefCell<(IpAddr, HeaderValue)> = const { RefCell::new((IpAddr::V4(Ipv4Addr::UNSPECIFIED), HeaderValue::from_static("0.0.0.0"))) };
    }
    LAST.with_borrow_mut(|(last, text)| {
        if *last != ip {
            *text = HeaderValue::try_from(ip.to_string()).unwrap_or_else(|_| HeaderValue::from_static("unknown"));
            *last = ip;
        }
        text.clone()
    })
}

/// A port as text. The last one is kept: a core serves few.
fn port_text(port: u16) -> HeaderValue {
    thread_local! {
        static LAST: RefCell<(u16, HeaderValue)> = const { RefCell::new((0, HeaderValue::from_static("0"))) };
    }
    LAST.with_borrow_mut(|(last, text)| {
        if *last != port {
            (*last, *text) = (port, HeaderValue::from(port));
        }
        text.clone()
    })
}

/// `Forwarded` (RFC 7239 §4): this hop's element is added at the end.
fn add_forwarded(headers: &mut HeaderMap, exchange: &Exchange) {
    let host = headers.get(header::HOST).map(HeaderValue::as_bytes).unwrap_or_default();
    if let Ok(element) = HeaderValue::try_from(forwarded(exchange, host)) {
        headers.append(header::FORWARDED, element);
    }
}

/// This hop's element of `Forwarded`, for a `Host`.
pub fn forwarded(exchange: &Exchange, host: &[u8]) -> String {
    let peer = exchange.connection.peer.ip().to_canonical();
    let node = if peer.is_ipv6() { format!("\"[{peer}]\"") } else { peer.to_string() };
    let host = String::from_utf8_lossy(host).replace(['"', '\\'], "");
    format!("for={node};host=\"{host}\";proto={}", proto(exchange))
}

/// What the client speaks: `http` or `https`.
pub fn proto(exchange: &Exchange) -> &'static str {
    if exchange.connection.tls.is_some() { "https" } else { "http" }
}

/// Takes out what belongs to one hop: `Connection`, what it nominates, and the fields of RFC 9110 §7.6.1.
///
/// What names the client can't be nominated away: a client could otherwise strip what a trusted proxy said of it.
pub fn strip_hop(headers: &mut HeaderMap, upgrade: bool) {
    // One pass that finds nothing is the ordinary case: looking each of them up costs more than all the rest here.
    if !headers.keys().any(one_hop) {
        return;
    }
    let trailers = headers.get(header::TE).is_some_and(|te| lists(te, "trailers"));
    let upgrade = if upgrade { headers.remove(header::UPGRADE) } else { None };
    strip_nominated(headers);
    while let Some(found) = headers.keys().find(|name| one_hop(name)).cloned() {
        headers.remove(found);
    }
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if let Some(protocol) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol);
    }
}

/// Whether a field belongs to one hop. Lengths are asked first: they settle nearly all names.
fn one_hop(name: &HeaderName) -> bool {
    matches!(name.as_str().len(), 2 | 7 | 10 | 14 | 16 | 17 | 19) && kind(name).one_hop()
}

fn kind(name: &HeaderName) -> Kind {
    Kind::of(name.as_str().as_bytes())
}

/// Takes out the fields that `Connection` nominates.
fn strip_nominated(headers: &mut HeaderMap) {
    for name in nominated(headers.get_all(header::CONNECTION).iter().map(HeaderValue::as_bytes)) {
        headers.remove(name);
    }
}

/// The fields that the values of `Connection` nominate, but for those that a client must not take away.
pub fn nominated<'h>(values: impl Iterator<Item = &'h [u8]>) -> Vec<HeaderName> {
    const KEPT: [HeaderName; 5] =
        [header::HOST, header::AUTHORIZATION, header::COOKIE, header::CONTENT_LENGTH, header::CONTENT_TYPE];
    values
        .filter(|value| !matches!(*value, b"keep-alive" | b"close"))
        .flat_map(|value| value.split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| !kind(name).identity() && !KEPT.contains(name))
        .collect()
}

fn lists(value: &HeaderValue, token: &str) -> bool {
    let tokens = value.as_bytes().split(|byte| *byte == b',');
    tokens.map(<[u8]>::trim_ascii).any(|found| found.eq_ignore_ascii_case(token.as_bytes()))
}

/// Takes out what a client says of itself.
fn strip_identity(headers: &mut HeaderMap) {
    // One pass that finds nothing is the ordinary case: all of these begin with f, x or t.
    let found: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with(['f', 'x', 't']) && kind(name).identity()).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::sync::Arc;

    use http::Method;

    use super::*;
    use crate::exchange::{Connection, Protocol};

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    fn forwarded(list: &[(&'static str, &'static str)], trusted_proxies: &[&str]) -> HeaderMap {
        let options = Options {
            trusted_proxies: trusted_proxies.iter().map(|net| net.parse().unwrap()).collect(),
            send_forwarded: true,
            ..Options::default()
        };
        let connection = Connection {
            peer: "192.0.2.7:1000".parse().unwrap(),
            local: "198.51.100.1:8080".parse().unwrap(),
            listener: "http".into(),
            tls: None,
            source: None,
        };
        let mut headers = headers(list);
        let mut exchange = Exchange::new(Arc::new(connection), Method::GET, Protocol::Http11);
        let peer = exchange.connection.peer.ip();
        exchange.client = client_address(peer, chain(&headers), &options.trusted_proxies);
        exchange.request_id = request_id(given_id(&headers), trusted(peer, &options.trusted_proxies));
        towards_upstream(&mut headers, &exchange, &options, false);
        headers
    }

    fn all(headers: &HeaderMap, name: &str) -> Vec<String> {
        headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    const SPOOFED: [(&str, &str); 7] = [
        ("host", "a.example"),
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-host", "evil"),
        ("x-forwarded-prefix", "/evil"),
        ("x-real-ip", "203.0.113.9"),
        ("forwarded", "for=203.0.113.9"),
        ("x-request-id", "mine"),
    ];

    #[test]
    fn what_a_client_says_of_itself_is_replaced() {
        let headers = forwarded(&SPOOFED, &[]);
        assert_eq!(all(&headers, "x-forwarded-for"), ["192.0.2.7"]);
        assert_eq!(all(&headers, "x-forwarded-host"), ["a.example"]);
        assert_eq!(all(&headers, "x-forwarded-proto"), ["http"]);
        assert_eq!(all(&headers, "x-forwarded-port"), ["8080"]);
        assert_eq!(all(&headers, "x-real-ip"), ["192.0.2.7"]);
        assert_eq!(all(&headers, "forwarded"), ["for=192.0.2.7;host=\"a.example\";proto=http"]);
        assert!(all(&headers, "x-forwarded-prefix").is_empty());
        assert_eq!(headers.get("x-request-id").unwrap().len(), 32);
        assert_ne!(all(&headers, "x-request-id"), ["mine"]);
    }

    #[test]
    fn what_a_trusted_proxy_says_is_kept_and_added_to() {
        let headers = forwarded(&SPOOFED, &["192.0.2.0/24"]);
        assert_eq!(all(&headers, "x-forwarded-for"), ["203.0.113.9, 192.0.2.7"]);
        assert_eq!(all(&headers, "x-forwarded-host"), ["evil"]);
        assert_eq!(all(&headers, "x-real-ip"), ["203.0.113.9"]);
        assert_eq!(all(&headers, "forwarded").len(), 2);
        assert_eq!(all(&headers, "x-request-id"), ["mine"]);
    }

    #[test]
    fn the_client_is_the_last_address_that_is_no_trusted_proxy() {
        let proxies = ["192.0.2.0/24".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
        let client = |chain| client_address("192.0.2.7".parse().unwrap(), [str::as_bytes(chain)].into_iter(), &proxies);
        assert_eq!(client("6.6.6.6, 203.0.113.9, 10.1.1.1").to_string(), "203.0.113.9");
        assert_eq!(client("10.2.2.2").to_string(), "10.2.2.2");
        assert_eq!(client("6.6.6.6, nonsense, 10.1.1.1").to_string(), "10.1.1.1");
    }

    #[test]
    fn fields_of_one_hop_go_and_identity_can_not_be_nominated_away() {
        let headers = forwarded(
            &[
                ("host", "a.example"),
                ("connection", "close, x-secret, x-forwarded-for, host"),
                ("x-secret", "1"),
                ("x-forwarded-for", "203.0.113.9"),
                ("keep-alive", "timeout=5"),
                ("proxy-connection", "keep-alive"),
                ("http2-settings", "AAMAAABkAAQAAP__"),
                ("upgrade", "h2c"),
                ("te", "gzip, Trailers"),
            ],
            &["192.0.2.7/32"],
        );
        for gone in ["connection", "x-secret", "keep-alive", "proxy-connection", "http2-settings", "upgrade"] {
            assert!(all(&headers, gone).is_empty(), "{gone}");
        }
        assert_eq!(all(&headers, "te"), ["trailers"]);
        assert_eq!(all(&headers, "host"), ["a.example"]);
        assert_eq!(all(&headers, "x-forwarded-for"), ["203.0.113.9, 192.0.2.7"]);
    }

    #[test]
    fn an_upgrade_keeps_what_it_needs() {
        let mut headers = headers(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]);
        strip_hop(&mut headers, true);
        assert_eq!(all(&headers, "connection"), ["upgrade"]);
        assert_eq!(all(&headers, "upgrade"), ["websocket"]);
    }
}

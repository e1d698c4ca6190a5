//! Opening a connection: PROXY protocol, TLS, and which HTTP it speaks. Called by `connection`, within one deadline.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use rust_ingress_model::l4::{Family, l7};
use rust_ingress_model::{ListenerAddress, Parent, Protocol};
use rustls::ProtocolVersion;
use socket2::SockRef;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::exchange::{Connection, Source, TlsFacts};
use crate::observe::Rejection;
use crate::server::bytes;
use crate::server::door::Door;
use crate::server::proxy_protocol::{self, Header};
use crate::server::stream::Stream;
use crate::table::Table;

/// What opens HTTP/2 with prior knowledge (RFC 9113 §3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Enough for most first heads.
const FIRST_READ: usize = 2048;
/// The longest PROXY protocol header, in bytes.
const PROXY_HEADER_MAX: usize = 16 + 4096;

/// What becomes of a connection.
pub enum Opening {
    /// It speaks HTTP.
    Http(Opened),
    /// Its bytes are carried.
    Bytes(TcpStream, Connection),
}

/// A connection that speaks HTTP.
pub struct Opened {
    /// Its bytes.
    pub stream: Stream,
    /// What is known of it.
    pub facts: Connection,
    /// Bytes that were read already.
    pub prefix: Vec<u8>,
    /// Whether it speaks HTTP/2.
    pub h2: bool,
}

/// Opens a connection. `None`: it is closed, and the reason counted.
pub async fn open(door: &Rc<Door>, stream: TcpStream, peer: SocketAddr) -> Option<Opening> {
    stream.set_nodelay(true).ok()?;
    let table = door.core.table();
    let Some(entry) = table.listeners.get(&door.name) else {
        door.metrics.rejected(Rejection::Unserved);
        return None;
    };
    let local = stream.local_addr().ok()?;
    let (mut peer, mut local) = (canonical(peer), canonical(local));
    if entry.listener.proxy_protocol {
        match read_proxy_header(&stream).await {
            Some(Header::Proxied { source, destination }) => (peer, local) = (canonical(source), canonical(destination)),
            Some(Header::Local) => {}
            None => {
                door.metrics.rejected(Rejection::ProxyProtocol);
                return None;
            }
        }
    }
    let door_of_node = entry.listener.parent == Parent::Node;
    if !door_of_node && entry.listener.address == ListenerAddress::Any && table.gateway_addresses.contains(&local.ip()) {
        door.metrics.rejected(Rejection::Unserved);
        return None;
    }
    if let Some(port) = entry.listener.public_port {
        local.set_port(port);
    }
    let mut facts = Connection { peer, local, listener: door.name.clone(), tls: None, source: None };
    if door_of_node && !hand_over(&table, &stream, &mut facts) {
        door.metrics.rejected(Rejection::Unserved);
        return None;
    }
    if table.listeners.get(&facts.listener).is_some_and(|entry| entry.listener.protocol == Protocol::Tcp) {
        return Some(Opening::Bytes(stream, facts));
    }
    let Some(tls) = &entry.tls else { return plain(stream, facts).await };
    let config = tls.config()?.clone();
    drop(table);
    // Waited for here, it costs no read that finds nothing.
    stream.readable().await.ok()?;
    let stream = match TlsAcceptor::from(config).accept(stream).await {
        Ok(stream) => stream,
        Err(error) => {
            door.metrics.handshake_failed();
            tracing::debug!(client = %peer, listener = %door.name, %error, "TLS handshake failed");
            return None;
        }
    };
    let (_, session) = stream.get_ref();
    let h2 = session.alpn_protocol() == Some(b"h2");
    let tls = TlsFacts {
        server_name: session.server_name().map(Into::into),
        version: if session.protocol_version() == Some(ProtocolVersion::TLSv1_3) { "TLSv1.3" } else { "TLSv1.2" },
        cipher: session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or("unknown"),
    };
    door.metrics.handshake(tls.version);
    facts.tls = Some(tls);
    Some(Opening::Http(Opened { stream: Stream::Tls(Box::new(stream)), facts, prefix: Vec::new(), h2 }))
}

/// A connection without TLS.
async fn plain(mut stream: TcpStream, facts: Connection) -> Option<Opening> {
    let (prefix, h2) = sniff(&mut stream).await?;
    Some(Opening::Http(Opened { stream: Stream::Plain(stream), facts, prefix, h2 }))
}

/// Finds the Service that a connection was for. `false`: there is none; somebody found the port, and is reset when this is closed.
fn hand_over(table: &Table, stream: &TcpStream, facts: &mut Connection) -> bool {
    let found = find_service(table, stream, facts);
    if found.is_none() {
        let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
    }
    found.is_some()
}

fn find_service(table: &Table, stream: &TcpStream, facts: &mut Connection) -> Option<()> {
    let original = bytes::original_destination(stream).map(canonical)?;
    let name = table.redirects.get(&original)?;
    let Parent::Service { stand, .. } = &table.listeners.get(name)?.listener.parent else { return None };
    let client = facts.peer.ip();
    let stands = stand.and_then(|stand| stand.source(client));
    facts.source = Some(Source { client, stands, node: l7::own_node(Family::of(client)) });
    facts.listener = name.clone();
    facts.local = original;
    Some(())
}

/// An IPv4 address that came over a dual-stack socket, as IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Reads the first bytes, until they tell HTTP/2 from HTTP/1.
async fn sniff(stream: &mut TcpStream) -> Option<(Vec<u8>, bool)> {
    let mut prefix = Vec::with_capacity(FIRST_READ);
    loop {
        if stream.read_buf(&mut prefix).await.ok()? == 0 {
            return None;
        }
        match prefix.get(..PREFACE.len()) {
            Some(first) => {
                let h2 = first == PREFACE;
                return Some((prefix, h2));
            }
            None if PREFACE.starts_with(&prefix) => {}
            None => return Some((prefix, false)),
        }
    }
}

/// Reads a PROXY protocol header and nothing behind it.
async fn read_proxy_header(stream: &TcpStream) -> Option<Header> {
    let mut bytes = Vec::new();
    let mut window = vec![0; PROXY_HEADER_MAX];
    loop {
        // Bytes are looked at first and taken once it is clear that they belong to the header.
        let seen = match stream.peek(&mut window).await.ok()? {
            0 => return None,
            seen => seen,
        };
        let before = bytes.len();
        bytes.extend_from_slice(window.get(..seen)?);
        let parsed = proxy_protocol::parse(&bytes).ok()?;
        let take = parsed.map_or(seen, |(_, length)| length - before);
        take_exactly(stream, window.get_mut(..take)?).await?;
        if let Some((header, _)) = parsed {
            return Some(header);
        }
    }
}

/// Takes bytes that were seen to be there.
async fn take_exactly(stream: &TcpStream, mut into: &mut [u8]) -> Option<()> {
    while !into.is_empty() {
        stream.readable().await.ok()?;
        match stream.try_read(into) {
            Ok(0) => return None,
            Ok(taken) => into = into.get_mut(taken..)?,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
    }
    Some(())
}

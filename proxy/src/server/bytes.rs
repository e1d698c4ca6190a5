//! A connection of a Service port that doesn't speak HTTP: its bytes, both ways, to one of its endpoints.
//!
//! Each side's end goes on to the other, so that a half-closed connection lives. Called by `connection`.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use rust_ingress_model::Rule;
use socket2::SockRef;
use tokio::net::TcpStream;

use crate::exchange::{Connection, Exchange, Protocol};
use crate::fault::{Kind, RequestFault};
use crate::forward::Course;
use crate::server::door::Door;
use crate::table::Table;
use crate::upstream::{Lease, Stream};

/// Carries a connection to its end. Where no endpoint takes it, it is reset: the client is to see what it would see without us.
pub async fn carry(door: &Rc<Door>, mut client: TcpStream, facts: Connection) {
    let (peer, listener) = (facts.peer, facts.listener.clone());
    let (mut endpoint, _lease) = match Box::pin(connect(door, facts)).await {
        Ok(connected) => connected,
        Err(fault) => {
            tracing::debug!(client = %peer, listener = %listener, "{}", fault.message);
            let _ = SockRef::from(&client).set_linger(Some(Duration::ZERO));
            return;
        }
    };
    if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut endpoint).await {
        tracing::debug!(client = %peer, listener = %listener, %error, "connection ended early");
    }
}

/// A connection to an endpoint, counted while it lives.
async fn connect(door: &Rc<Door>, facts: Connection) -> Result<(Stream, Lease), RequestFault> {
    let table = door.core.table();
    let rule = rule(&table, &facts)?;
    // Of an exchange only where it goes is of any meaning here.
    let mut exchange = Exchange::new(Arc::new(facts), Method::CONNECT, Protocol::Upgrade);
    let aim = door.core.forwarder.aim(&table.upstreams, rule, &mut exchange)?;
    let attempts = aim.attempts();
    let all = attempts.endpoints().await?;
    let mut course = Course::new(rule, &Method::CONNECT);
    loop {
        let lease = Lease::new(attempts.choose(&all, &course, &mut exchange)?);
        match attempts.connect(&mut course, true, lease.endpoint()).await {
            Ok(stream) => return Ok((stream, lease)),
            Err(failure) => attempts.again(Err(failure), &all, &course, &mut exchange).await?,
        }
    }
}

/// The one rule of the connection's listener.
fn rule<'t>(table: &'t Table, facts: &Connection) -> Result<&'t Rule, RequestFault> {
    let listener = table.listeners.get(&facts.listener).map(|entry| &entry.listener);
    let hosts = listener.and_then(|listener| table.snapshot.route_sets.get(&listener.routes));
    let rule = hosts.and_then(|set| set.hosts.values().next()?.rules.first());
    rule.ok_or_else(|| RequestFault::new(Kind::RouteNotFound, "the Service of this connection isn't known any more"))
}

/// What the kernel says where a redirected connection was to go: a Service's address or a node port. `None`: nowhere else than here.
pub fn original_destination(stream: &TcpStream) -> Option<SocketAddr> {
    let socket = SockRef::from(stream);
    let local = stream.local_addr().ok()?;
    let original = if local.ip().to_canonical().is_ipv4() { socket.original_dst_v4() } else { socket.original_dst_v6() };
    let original = original.ok()?.as_socket()?;
    Some(SocketAddr::new(original.ip(), original.port()))
}

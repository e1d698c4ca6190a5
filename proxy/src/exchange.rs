//! The exchange: what is known of one request while it lives, and what the access log and metrics say of it in the end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use rust_ingress_model::{BackendKey, Name, ObjectRef};

use crate::fault::Kind;

/// What a downstream connection is; shared by its requests.
#[derive(Debug)]
pub struct Connection {
    /// The client: the socket's peer, or what a PROXY protocol header says.
    pub peer: SocketAddr,
    /// The address that the client connected to.
    pub local: SocketAddr,
    /// The listener's name.
    pub listener: Name,
    /// TLS facts; `None` on plain connections.
    pub tls: Option<TlsFacts>,
}

/// What TLS settled on.
#[derive(Debug)]
pub struct TlsFacts {
    /// The SNI name, lower case.
    pub server_name: Option<Name>,
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite.
    pub cipher: &'static str,
}

/// One request's facts, filled in as it goes.
#[derive(Debug)]
pub struct Exchange {
    /// The connection it came on.
    pub connection: Arc<Connection>,
    /// When its head had been read.
    pub start: Instant,
    /// The client as `trusted_proxies` has it: the peer, or an address of `X-Forwarded-For`.
    pub client: std::net::IpAddr,
    /// The request's id, ours or a trusted proxy's.
    pub request_id: Name,
    /// The rule that took it.
    pub route: Option<(ObjectRef, Name)>,
    /// The backend drawn.
    pub backend: Option<BackendKey>,
    /// The endpoint that answered, or was tried last.
    pub endpoint: Option<SocketAddr>,
    /// Attempts beyond the first.
    pub retries: u32,
    /// When the first byte went to the endpoint that answered.
    pub upstream_start: Option<Instant>,
    /// When its response's head had been read.
    pub upstream_head: Option<Instant>,
    /// The annotation or policy that refused it, or the fault's kind.
    pub flag: Option<Name>,
    /// The fault that ended it.
    pub fault: Option<Kind>,
}

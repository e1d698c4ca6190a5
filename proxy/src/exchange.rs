//! The exchange: what is known of one request while it lives, and what the access log and metrics say of it in the end.
//!
//! The life of a request makes one when it has read a head, its stages fill it in, and `respond` hands it to
//! [`crate::observe::Observer::finished`] when the response has ended.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use http::{HeaderMap, HeaderValue, Method, Uri, Version, header};
use rust_ingress_model::{BackendKey, Name, ObjectRef};

use crate::fault::{Kind, RequestFault};

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
    /// From where endpoints are reached; `None`: as the system chooses.
    pub source: Option<Source>,
}

/// From where endpoints are reached for a connection that the kernel handed over, so that they see the source that they would see
/// without us: SNAT puts the client's address, or the node's, in the place of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// The client.
    pub client: IpAddr,
    /// What stands for the client; `None`: endpoints see the node.
    pub stands: Option<IpAddr>,
    /// What stands for the node.
    pub node: IpAddr,
}

impl Source {
    /// The address to take towards an endpoint. A client that reaches itself sees the node: its own address would come from itself.
    pub fn towards(&self, endpoint: IpAddr) -> IpAddr {
        self.stands.filter(|_| self.client != endpoint).unwrap_or(self.node)
    }
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

/// What is spoken in one exchange, as metrics and access log name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
    /// gRPC, over HTTP/2.
    Grpc,
    /// A WebSocket or another protocol that an HTTP/1.1 connection is upgraded to.
    Upgrade,
}

impl Protocol {
    /// All of them, for metrics.
    pub const ALL: [Self; 5] = [Self::Http10, Self::Http11, Self::Http2, Self::Grpc, Self::Upgrade];

    /// What a request's version and headers ask for.
    pub fn of(version: Version, headers: &HeaderMap) -> Self {
        match version {
            Version::HTTP_2 | Version::HTTP_3 => match headers.get(header::CONTENT_TYPE) {
                Some(value) if value.as_bytes().starts_with(b"application/grpc") => Self::Grpc,
                _ => Self::Http2,
            },
            Version::HTTP_11 if headers.contains_key(header::UPGRADE) => Self::Upgrade,
            Version::HTTP_11 => Self::Http11,
            _ => Self::Http10,
        }
    }

    /// The metric label and access log value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
            Self::Grpc => "gRPC",
            Self::Upgrade => "Upgrade",
        }
    }
}

/// What only the access log wants of a request's head. Clones share the request's own buffers.
#[derive(Debug, Clone)]
pub struct RequestLine {
    /// As sent, once the gate has let it pass.
    pub uri: Uri,
    /// `Host`, where the URI has no authority.
    pub host: Option<HeaderValue>,
    /// `User-Agent`.
    pub user_agent: Option<HeaderValue>,
    /// `Referer`.
    pub referer: Option<HeaderValue>,
}

impl RequestLine {
    /// Takes what the access log wants.
    pub fn of(uri: &Uri, headers: &HeaderMap) -> Self {
        Self {
            uri: uri.clone(),
            host: headers.get(header::HOST).cloned(),
            user_agent: headers.get(header::USER_AGENT).cloned(),
            referer: headers.get(header::REFERER).cloned(),
        }
    }
}

/// One request's facts, filled in as it goes.
#[derive(Debug)]
pub struct Exchange {
    /// The connection it came on.
    pub connection: Arc<Connection>,
    /// When its head had been read.
    pub start: Instant,
    /// The client as `trusted_proxies` has it: the peer, or an address of `X-Forwarded-For`.
    pub client: IpAddr,
    /// The request's id, ours or a trusted proxy's. Empty until the stage that settles it.
    pub request_id: HeaderValue,
    /// The method.
    pub method: Method,
    /// What is spoken.
    pub protocol: Protocol,
    /// For the access log; `None` when there is none.
    pub line: Option<Box<RequestLine>>,
    /// The rule that took it: the object and the field in it.
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
    /// What the fault says; for the access log.
    pub message: Option<Cow<'static, str>>,
}

impl Exchange {
    /// An exchange that begins now, from the connection's peer, with nothing else known.
    pub fn new(connection: Arc<Connection>, method: Method, protocol: Protocol) -> Self {
        Self {
            client: connection.peer.ip(),
            connection,
            start: Instant::now(),
            request_id: HeaderValue::from_static(""),
            method,
            protocol,
            line: None,
            route: None,
            backend: None,
            endpoint: None,
            retries: 0,
            upstream_start: None,
            upstream_head: None,
            flag: None,
            fault: None,
            message: None,
        }
    }

    /// Notes the fault that ends it.
    pub fn failed(&mut self, fault: &RequestFault) {
        self.fault = Some(fault.kind);
        self.message = Some(fault.message.clone());
    }
}

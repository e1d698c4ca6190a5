//! Listeners: where traffic comes in, over which protocol, with which certificates.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::filter::Filter;
use crate::keystore::Fingerprint;
use crate::l4::l7::Stand;
use crate::names::{HostPattern, Name, ObjectRef, RouteSetName};

/// The address a listener binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ListenerAddress {
    /// Every address of the host, both families.
    Any,
    /// One address.
    Ip(IpAddr),
}

/// What is spoken on a listener, before any upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Protocol {
    /// HTTP/1.x, and HTTP/2 with prior knowledge (h2c).
    Http,
    /// TLS, then HTTP/1.x or HTTP/2 as ALPN says.
    Https,
    /// TLS, terminated or passed through by SNI (TLSRoute).
    Tls,
    /// Bytes (TCPRoute).
    Tcp,
    /// Datagrams (UDPRoute).
    Udp,
}

/// What a listener belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Parent {
    /// All Ingresses of our class.
    Ingress,
    /// A Gateway: all of its listeners with this port and protocol are its [`Section`]s.
    Gateway {
        /// The Gateway.
        object: ObjectRef,
    },
    /// The one place where the kernel of this node sends the traffic of Services that go through the proxy.
    Node,
    /// A Service port whose traffic comes in by [`Self::Node`] (L7 Services; GAMMA mesh routes). It has no socket of its own:
    /// a connection's original destination says that it is for this one.
    Service {
        /// The Service.
        object: ObjectRef,
        /// Its port.
        port: u16,
        /// Its addresses and ports on this node, all of one family.
        frontends: Vec<SocketAddr>,
        /// Whose addresses endpoints see; all others get the node's.
        stand: Option<Stand>,
    },
}

/// One place where traffic comes in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// The address to bind.
    pub address: ListenerAddress,
    /// The TCP or UDP port.
    pub port: u16,
    /// What is spoken here.
    pub protocol: Protocol,
    /// What it belongs to.
    pub parent: Parent,
    /// The port that clients connect to, where a Service translates it; it stands in redirects, forwarded headers and matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_port: Option<u16>,
    /// The virtual hosts that it serves to hosts which no section takes.
    pub routes: RouteSetName,
    /// Listeners of a Gateway that share the port, told apart by the request's host (Gateway API, listener isolation): the first
    /// whose host matches takes the request, and a route that it doesn't have isn't looked for in another.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sections: Vec<Section>,
    /// The certificates it presents; `None` on listeners without TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Name>,
    /// A PROXY protocol header (v1 or v2) must open every connection.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub proxy_protocol: bool,
    /// Filters for every request on this listener, before routing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<Filter>,
}

impl Listener {
    /// Plain HTTP for the virtual hosts of a route set that Ingresses make, without a PROXY protocol header before it.
    pub fn http(address: ListenerAddress, port: u16, routes: RouteSetName) -> Self {
        let (protocol, parent) = (Protocol::Http, Parent::Ingress);
        Self {
            address,
            port,
            protocol,
            parent,
            public_port: None,
            routes,
            sections: Vec::new(),
            tls: None,
            proxy_protocol: false,
            filters: Vec::new(),
        }
    }

    /// Whether it is opened: those of Services are reached through another.
    pub fn has_socket(&self) -> bool {
        !matches!(self.parent, Parent::Service { .. })
    }

    /// The socket address to bind; IPv6 `::` (dual stack) for [`ListenerAddress::Any`].
    pub fn socket_addr(&self) -> SocketAddr {
        let ip = match self.address {
            ListenerAddress::Any => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
            ListenerAddress::Ip(ip) => ip,
        };
        SocketAddr::new(ip, self.port)
    }
}

/// One listener of a Gateway on a port that it may share with others of the same Gateway.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Section {
    /// `listeners[].name`.
    pub name: Name,
    /// `listeners[].hostname`; sections stand in its order.
    pub hostname: HostPattern,
    /// The virtual hosts that it serves, each by the host name as its routes have it.
    pub routes: RouteSetName,
}

/// Which certificate answers which SNI name. Shared by the TLS listeners that name it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TlsSet {
    /// Certificates by host pattern; exact names win over wildcards.
    #[serde(default)]
    pub by_host: BTreeMap<HostPattern, Fingerprint>,
    /// Presented when no pattern matches, and without SNI. `None`: the handshake is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Fingerprint>,
    /// Which certificates clients must show; `None`: they aren't asked for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<ClientCertificates>,
}

/// Which certificates clients must show (Gateway API, `tls.frontend`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientCertificates {
    /// What they must chain to, each in PEM. None at all: no handshake succeeds.
    pub authorities: Vec<String>,
    /// They are asked for one, but any is taken, and none too: whoever is behind has to look (`AllowInsecureFallback`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure_fallback: bool,
}

/// What is public of a certificate. Its key is in the [`crate::KeyStore`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    /// Where it comes from; `None` for the default certificate made at start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<ObjectRef>,
    /// DNS names of subjectAltName.
    pub dns_names: Vec<String>,
    /// Seconds since 1970 after which it is no longer valid.
    pub not_after: i64,
}

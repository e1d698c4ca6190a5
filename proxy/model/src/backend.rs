//! Backends: the Service ports that routes send traffic to, and the endpoints behind them.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::app_protocol::AppProtocol;
use crate::keystore::Fingerprint;
use crate::names::{BackendKey, Name, ObjectRef};

/// How a TLS connection to an endpoint is checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendTls {
    /// SNI, and the name that the certificate must have when it is verified. `None`: no SNI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// What the endpoint's certificate must chain to.
    #[serde(default)]
    pub verify: Verify,
    /// Names of which the certificate must have one, in place of [`Self::server_name`], when it is verified. Empty: that one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subject_names: Vec<SubjectName>,
    /// The certificate that we present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<Fingerprint>,
}

/// A name that an endpoint's certificate may have (RFC 5280, subjectAltName).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SubjectName {
    /// A DNS name, in lower case.
    Dns(Name),
    /// A URI, byte for byte (`spiffe://…`).
    Uri(Name),
}

/// What an endpoint's certificate must chain to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verify {
    /// Nothing: encrypted, not authenticated. What Ingress means by `https` unless a policy says more.
    #[default]
    None,
    /// The Mozilla root certificates (Gateway API `wellKnownCACertificates: System`).
    System,
    /// These authorities, each in PEM.
    Authorities(Vec<String>),
}

/// Where a backend's endpoints come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Discovery {
    /// EndpointSlices; ready ones, or, when none is ready, those that terminate and still serve.
    Endpoints(Vec<Endpoint>),
    /// A Service of type ExternalName: resolved by the proxy, TTL kept, loopback and link-local answers refused.
    Dns {
        /// `spec.externalName`.
        name: Name,
        /// The port to connect to.
        port: u16,
    },
    /// There is nothing to send to; requests are answered 503 with this text.
    Absent(String),
}

/// One address of a backend.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// The Pod's address and target port.
    pub address: SocketAddr,
    /// The Pod, where the slice names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<ObjectRef>,
    /// The zone, for topology-aware choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<Name>,
}

/// How an endpoint is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Balance {
    /// Of two endpoints drawn at random the one with fewer requests in flight.
    #[default]
    LeastRequest,
    /// One after another.
    RoundRobin,
}

/// A Service port, resolved.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Backend {
    /// What is spoken to its endpoints.
    pub protocol: AppProtocol,
    /// Only with a protocol over TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<BackendTls>,
    /// How an endpoint is chosen.
    #[serde(default)]
    pub balance: Balance,
    /// Where they are.
    pub discovery: Discovery,
}

/// What a rule sends its requests to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BackendRef {
    /// A Service port, in [`crate::Snapshot::backends`].
    Service(BackendKey),
    /// A reference that can't be followed: the request is answered so (404, 500 or 503) with this text.
    Fail {
        /// HTTP status.
        status: u16,
        /// The body, and the reason in the access log.
        reason: String,
    },
}

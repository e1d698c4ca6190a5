//! L4 services: what the node agent programs into the kernel. Filled by the node agent's part of translation.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::names::Name;

/// A transport protocol of a Service port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// `Cluster` or `Local`, for internal and external traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum TrafficPolicy {
    /// All endpoints.
    #[default]
    Cluster,
    /// Those on the node that the packet arrived at.
    Local,
}

/// A Service as the kernel sees it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct L4Service {
    /// ClusterIPs, both families.
    pub cluster_ips: Vec<IpAddr>,
    /// externalIPs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub external_ips: Vec<IpAddr>,
    /// Load balancer addresses of mode VIP.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub load_balancer_ips: Vec<IpAddr>,
    /// Sources that may use the load balancer addresses; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source_ranges: Vec<IpNet>,
    /// internalTrafficPolicy.
    #[serde(default)]
    pub internal: TrafficPolicy,
    /// externalTrafficPolicy.
    #[serde(default)]
    pub external: TrafficPolicy,
    /// ClientIP affinity, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity_s: Option<u32>,
    /// Its ports.
    pub ports: Vec<L4Port>,
}

/// One port of an [`L4Service`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct L4Port {
    /// TCP, UDP or SCTP.
    pub transport: Transport,
    /// The Service's port.
    pub port: u16,
    /// The port on every node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_port: Option<u16>,
    /// Where to.
    pub endpoints: Vec<L4Endpoint>,
}

/// One endpoint, with what node-local choices need.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct L4Endpoint {
    /// The Pod's address and target port.
    pub address: SocketAddr,
    /// Ready for new connections.
    pub ready: bool,
    /// Still serving while it terminates.
    pub serving: bool,
    /// The node it runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Name>,
    /// Zones that should use it (topology hints).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub for_zones: Vec<Name>,
}

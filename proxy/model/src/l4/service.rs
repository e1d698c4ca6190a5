//! A Service as the kernel is to see it: frontends, policies, endpoints. Written by translation, the same on every node.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::app_protocol::AppProtocol;
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

impl Transport {
    /// The number in the IP header (IANA protocol numbers).
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    /// As nft and `/etc/protocols` write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
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

/// A Service as the kernel sees it. Headless Services and ExternalNames aren't among them.
///
/// No two Services of a snapshot have the same frontend (address, protocol and port; protocol and node port): translation
/// leaves the later one's out, with a fault ([`L4Port::without`], no node port).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct L4Service {
    /// ClusterIPs, both families.
    pub cluster_ips: Vec<IpAddr>,
    /// externalIPs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub external_ips: Vec<IpAddr>,
    /// Load balancer addresses of `ipMode: VIP`; those of `Proxy` aren't captured by nodes (KEP-1860).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub load_balancer_ips: Vec<IpAddr>,
    /// The load balancer addresses are of [`super::Pool`]s: the node that holds one answers for it on the link.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub pooled: bool,
    /// Sources that may use the load balancer addresses; empty: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub source_ranges: Vec<IpNet>,
    /// internalTrafficPolicy.
    #[serde(skip_serializing_if = "is_cluster")]
    pub internal: TrafficPolicy,
    /// externalTrafficPolicy.
    #[serde(skip_serializing_if = "is_cluster")]
    pub external: TrafficPolicy,
    /// ClientIP affinity, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity_s: Option<u32>,
    /// healthCheckNodePort: where each node says whether it has endpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_check_node_port: Option<u16>,
    /// Whether its TCP traffic is redirected to the proxy of the node (`rust-ingress.dev/l7`).
    #[serde(skip_serializing_if = "L7::is_off")]
    pub l7: L7,
    /// Its ports.
    pub ports: Vec<L4Port>,
}

/// Whether the TCP traffic of a Service goes through the proxy of the node that it comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum L7 {
    /// No: the kernel takes it to the endpoints.
    #[default]
    Off,
    /// While the proxy is alive; else the kernel takes it to the endpoints.
    Enabled,
    /// Always: while the proxy isn't alive it is refused.
    Required,
}

impl L7 {
    /// Whether it is [`Self::Off`].
    pub fn is_off(&self) -> bool {
        *self == Self::Off
    }
}

fn is_cluster(policy: &TrafficPolicy) -> bool {
    *policy == TrafficPolicy::Cluster
}

/// One port of an [`L4Service`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct L4Port {
    /// The port's name; empty where it has none.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub name: Name,
    /// TCP, UDP or SCTP.
    pub transport: Transport,
    /// The Service's port.
    pub port: u16,
    /// The HTTP that is spoken on it (`appProtocol`), where its Service goes through the proxy; `None`: bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<AppProtocol>,
    /// The port on every node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_port: Option<u16>,
    /// Addresses of the Service on which another Service has this port already: it isn't served there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<IpAddr>,
    /// Where to, both families, in a stable order: an endpoint's place in it decides which element it is.
    pub endpoints: Vec<L4Endpoint>,
}

/// One endpoint, with what node-local choices need (`endpoints[].conditions` and `hints` of an EndpointSlice).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct L4Endpoint {
    /// The Pod's address and target port.
    pub address: SocketAddr,
    /// Ready for new connections.
    pub ready: bool,
    /// Would be ready if it weren't terminating.
    pub serving: bool,
    /// Its Pod is being deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub terminating: bool,
    /// The node it runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Name>,
    /// Zones that should use it (`hints.forZones`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub for_zones: Vec<Name>,
    /// Nodes that should use it (`hints.forNodes`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub for_nodes: Vec<Name>,
}

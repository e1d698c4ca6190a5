//! What a plan needs beside the snapshot: facts of this node, and settings of the agent.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::set::Family;
use crate::names::Name;

/// This node, from its Node object and its interfaces.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeFacts {
    /// Its name, as in `spec.nodeName` of Pods and `nodeName` of endpoints.
    pub name: Name,
    /// Label `topology.kubernetes.io/zone`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<Name>,
    /// Its labels: pools choose by them who answers for their addresses.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<Name, Name>,
    /// Its addresses as the Node object has them, InternalIPs first: the first of a family is that family's primary.
    pub addresses: Vec<IpAddr>,
    /// All addresses of its interfaces, for NodePorts on more than the primary ones. The agent reads them from the kernel.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub interface_addresses: Vec<IpAddr>,
    /// `spec.podCIDRs`.
    pub pod_cidrs: Vec<IpNet>,
    /// Being deleted, or tainted `ToBeDeletedByClusterAutoscaler`: `/healthz` fails, so that load balancers leave it (KEP-3836).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub leaving: bool,
}

/// How the agent is set up.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct L4Settings {
    /// On which of the node's addresses NodePorts are served.
    pub node_port_addresses: NodePortAddresses,
    /// How packets of this node's Pods are told from others.
    pub local_pods: LocalPods,
    /// Give every connection to a Service the node's address, also those of this node's Pods.
    pub masquerade_all: bool,
    /// Where the L7 proxy of this node takes what is redirected to it; `None`: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l7_port: Option<u16>,
    /// Where NodePorts are taken that programs of this node ask for at a loopback address; `None`: nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loopback: Option<LoopbackPorts>,
    /// Give connections of this node's Pods to the outside the node's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress: Option<EgressSnat>,
}

impl L4Settings {
    /// Sources that are Pods of this node; none where interfaces tell.
    pub(super) fn pods_of<'a>(&'a self, node: &'a NodeFacts) -> &'a [IpNet] {
        match &self.local_pods {
            LocalPods::NodeCidrs => &node.pod_cidrs,
            LocalPods::Cidrs(cidrs) => cidrs,
            LocalPods::Interfaces(_) => &[],
        }
    }
}

/// Ports at 127.0.0.1 and ::1 where the agent takes connections to NodePorts, to carry them to the node's own address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoopbackPorts {
    /// At 127.0.0.1.
    pub v4: u16,
    /// At ::1, where there is IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub v6: Option<u16>,
}

impl LoopbackPorts {
    /// That of a family.
    pub fn of(&self, family: Family) -> Option<u16> {
        match family {
            Family::Ipv4 => Some(self.v4),
            Family::Ipv6 => self.v6,
        }
    }
}

/// On which addresses NodePorts are served (`--nodeport-addresses`). Never on loopback.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NodePortAddresses {
    /// The primary address of each family.
    #[default]
    Primary,
    /// All of the node's within these.
    Cidrs(Vec<IpNet>),
}

/// How packets of this node's Pods are told from others. Replies to these come back through this node anyway, so their source is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LocalPods {
    /// By source: the node's Pod CIDRs.
    #[default]
    NodeCidrs,
    /// By source: these CIDRs, as the whole cluster's Pod range. Sources are kept on the way to all but NodePorts.
    Cidrs(Vec<IpNet>),
    /// By the interface that they come in from: names that begin so (`cali`, `veth`, a bridge's name).
    Interfaces(Vec<Name>),
}

/// Egress SNAT, with the keys of ip-masq-agent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EgressSnat {
    /// Destinations that see the Pod's address (`nonMasqueradeCIDRs`). Our default, which whoever reads the settings puts here:
    /// the cluster's own Pod and Service ranges.
    pub non_masquerade: Vec<IpNet>,
    /// `masqLinkLocal`: 169.254.0.0/16 too.
    pub link_local: bool,
    /// `masqLinkLocalIPv6`: fe80::/10 too.
    pub link_local_ipv6: bool,
    /// `--random-fully`.
    pub random_fully: bool,
    /// `--to-ports`: first and last source port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_ports: Option<(u16, u16)>,
}

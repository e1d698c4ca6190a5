//! The snapshot: all that the data plane and the node agent do, as one value.
//!
//! It is made by `translate`, published by the driver, and read by the proxy and the agent. Every entry is a shared
//! part in a [`PartMap`], so that a new snapshot costs what changed, and comparing two looks at pointers first.

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::backend::Backend;
use crate::digest::Digest;
use crate::fault::{Fault, Report};
use crate::keystore::Fingerprint;
use crate::l4::{L4Service, Pool};
use crate::listener::{Certificate, Listener, TlsSet};
use crate::names::{BackendKey, HostPattern, ListenerName, Name, ObjectRef, ReportKey, RouteSetName};
use crate::parts::PartMap;
use crate::route::VirtualHost;

/// What is served, the same on every node.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Snapshot {
    /// Where traffic comes in.
    pub listeners: PartMap<ListenerName, Listener>,
    /// Which virtual hosts a listener serves.
    pub route_sets: BTreeMap<RouteSetName, RouteSet>,
    /// Service ports that routes refer to.
    pub backends: PartMap<BackendKey, Backend>,
    /// Which certificate answers which name.
    pub tls_sets: PartMap<Name, TlsSet>,
    /// What is public of the certificates.
    pub certificates: PartMap<Fingerprint, Certificate>,
    /// Services for the kernel.
    #[serde(skip_serializing_if = "PartMap::is_empty")]
    pub services: PartMap<ObjectRef, L4Service>,
    /// Ranges that ClusterIPs are taken from (ServiceCIDR objects).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub service_cidrs: Vec<IpNet>,
    /// Pools of load balancer addresses (AddressPool objects).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub pools: BTreeMap<Name, Pool>,
    /// What is wrong with, or said of, objects. Not part of the digest: it changes nothing that is served.
    pub reports: PartMap<ReportKey, Report>,
}

/// The virtual hosts of one or more listeners.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RouteSet {
    /// By host pattern, in order of precedence.
    pub hosts: PartMap<HostPattern, VirtualHost>,
}

impl Snapshot {
    /// Names the content that is served: equal digests serve alike.
    ///
    /// Costs the chunks of the maps that are new: their digests are kept with them.
    pub fn digest(&self) -> Digest {
        let l7 = (&self.listeners, &self.route_sets, &self.backends, &self.tls_sets, &self.certificates);
        Digest::of(&(l7, &self.services, &self.service_cidrs, &self.pools))
    }

    /// All faults, in a stable order.
    pub fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.reports.values().flat_map(|report| report.faults.iter())
    }
}

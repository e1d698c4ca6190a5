//! The status plan: what the status writer shall write, computed in the same pass as routing.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::names::{Name, ObjectRef};

/// What to write on objects that are ours: on those that changed, or on all of them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusPlan {
    /// Whether these are all objects that are ours; else those whose status may have changed.
    #[serde(skip)]
    pub whole: bool,
    /// By object; `None` for one that is gone or no longer ours.
    pub objects: BTreeMap<ObjectRef, Option<ObjectStatus>>,
}

impl StatusPlan {
    /// Brings what is known of all objects up to this plan.
    pub fn apply(self, known: &mut BTreeMap<ObjectRef, ObjectStatus>) {
        if self.whole {
            known.clear();
        }
        for (object, status) in self.objects {
            match status {
                Some(status) => known.insert(object, status),
                None => known.remove(&object),
            };
        }
    }
}

/// What to write on one object.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectStatus {
    /// `metadata.generation` that this was computed from; 0 where the object has none.
    #[serde(default)]
    pub generation: i64,
    /// Whether the published addresses belong on it (`status.loadBalancer` of an Ingress).
    #[serde(default)]
    pub addresses: bool,
    /// Conditions, for kinds that have them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Of a Service that gets its addresses from pools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balancer: Option<Balancer>,
    /// `status.supportedFeatures` of a GatewayClass, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<Name>,
    /// What else stands on a Gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<GatewayStatus>,
    /// `status.listeners` of a ListenerSet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<ListenerStatus>,
    /// `status.parents` of a route: our entries of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<ParentStatus>,
    /// `status.ancestors` of a policy: our entries of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ancestors: Vec<ParentStatus>,
}

/// What pools give a Service (`status.loadBalancer` and the finalizer with it).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Balancer {
    /// These addresses; none while there are none to give.
    Given(Vec<IpAddr>),
    /// It goes, or gets none any more: what we gave it is taken back, and its finalizer with it.
    Released,
}

/// What stands on a Gateway beside its conditions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayStatus {
    /// Where it can be reached.
    pub addresses: Vec<StatusAddress>,
    /// One entry for each of `spec.listeners`.
    pub listeners: Vec<ListenerStatus>,
    /// ListenerSets of which it serves listeners.
    #[serde(default, skip_serializing_if = "is_none")]
    pub attached_sets: u32,
    /// The Service that brings its traffic to us, in a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<GatewayService>,
}

/// One of `status.addresses` of a Gateway.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusAddress {
    /// `IPAddress` or `Hostname`.
    pub r#type: Name,
    /// The address.
    pub value: Name,
}

/// One of `status.listeners` of a Gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerStatus {
    /// `listeners[].name`.
    pub name: Name,
    /// Kinds of group `gateway.networking.k8s.io` that may attach.
    pub kinds: Vec<Name>,
    /// Routes that have.
    pub attached_routes: u32,
    /// Its conditions.
    pub conditions: Vec<Condition>,
}

/// The Service of type LoadBalancer that a Gateway of a cluster wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayService {
    /// Its name, in the Gateway's namespace.
    pub name: Name,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The listener's port, and the port that the proxy listens on for it.
    pub ports: BTreeMap<u16, u16>,
    /// `spec.addresses` that it asks for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
    /// A pool gives its addresses: nobody comes by NodePorts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pooled: bool,
    /// It is of type ClusterIP: nobody comes from outside.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub internal: bool,
    /// `spec.loadBalancerClass`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// `spec.loadBalancerSourceRanges`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source_ranges: Vec<String>,
}

/// Our entry of a route's `status.parents`, one for each parentRef to a Gateway of ours; or of a policy's `status.ancestors`, one
/// for each Gateway of ours that it counts for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentStatus {
    /// The parentRef, as the route has it.
    pub parent: ParentRef,
    /// Its conditions.
    pub conditions: Vec<Condition>,
}

/// A parentRef, as a route has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentRef {
    /// `gateway.networking.k8s.io`.
    pub group: Name,
    /// `Gateway`.
    pub kind: Name,
    /// Where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Name>,
    /// Its name.
    pub name: Name,
    /// A listener.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section_name: Option<Name>,
    /// A port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// A condition, without its times: those are the writer's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// `Accepted`, `ResolvedRefs`, `Programmed`.
    pub r#type: String,
    /// `status: "True"` or `"False"`.
    pub status: bool,
    /// CamelCase.
    pub reason: String,
    /// For people.
    pub message: String,
}

fn is_none(count: &u32) -> bool {
    *count == 0
}

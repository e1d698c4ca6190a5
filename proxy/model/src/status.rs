//! The status plan: what the status writer shall write, computed in the same pass as routing.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::names::ObjectRef;

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

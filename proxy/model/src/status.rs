//! The status plan: what the status writer shall write, computed in the same pass as routing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::names::ObjectRef;

/// What to write on each object that is ours.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusPlan {
    /// By object.
    pub objects: BTreeMap<ObjectRef, ObjectStatus>,
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

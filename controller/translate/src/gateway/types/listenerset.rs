//! ListenerSet of Gateway API v1.7.0, experimental channel: written by hand after its CRD; its listeners are those of a Gateway.

#![allow(missing_docs, reason = "the Gateway API's own reference has them")]

use serde::{Deserialize, Serialize};

use super::gateway::GatewayListeners;

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
pub struct ListenerSetSpec {
    pub listeners: Vec<GatewayListeners>,
    #[serde(rename = "parentRef")]
    pub parent_ref: ListenerSetParentRef,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
pub struct ListenerSetParentRef {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

//! The kind AddressPool, `rust-ingress.dev/v1alpha1`, as its CustomResourceDefinition in the chart has it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::{ClusterResourceScope, Metadata, Resource};
use serde::{Deserialize, Serialize};

/// Addresses for Services of type LoadBalancer and for Gateways.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AddressPool {
    /// `rust-ingress.dev/v1alpha1`
    pub api_version: Cow<'static, str>,
    /// `AddressPool`
    pub kind: Cow<'static, str>,
    /// Name, age. It has no namespace.
    pub metadata: ObjectMeta,
    /// What it says.
    pub spec: AddressPoolSpec,
}

/// What an AddressPool says.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AddressPoolSpec {
    /// CIDRs, single addresses and ranges `first-last`, of both families.
    pub addresses: Vec<String>,
    /// Also for Services without a class.
    #[serde(rename = "default")]
    pub is_default: bool,
    /// Only for objects of these namespaces; none: of all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Only for objects with these labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_selector: Option<LabelSelector>,
    /// Who answers for the addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub announce: Option<AddressPoolAnnounce>,
}

/// Which nodes answer for a pool's addresses.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AddressPoolAnnounce {
    /// Labels that such a node has.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// How many of them take part, at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_nodes: Option<i32>,
}

impl Resource for AddressPool {
    const API_VERSION: &'static str = "rust-ingress.dev/v1alpha1";
    const GROUP: &'static str = "rust-ingress.dev";
    const KIND: &'static str = "AddressPool";
    const VERSION: &'static str = "v1alpha1";
    const URL_PATH_SEGMENT: &'static str = "addresspools";
    type Scope = ClusterResourceScope;
}

impl Metadata for AddressPool {
    type Ty = ObjectMeta;

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

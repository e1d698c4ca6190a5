//! Metadata as the door keeps it: without managed fields, the last applied configuration, and labels that nobody reads.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, Visitor};

/// What `kubectl apply` writes: the whole object again.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The labels that translation reads of kinds that it doesn't choose by labels.
const READ: [&str; 4] =
    ["kubernetes.io/service-name", "service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless", GATEWAY_NAME];
/// On the Services that stand for Gateways.
pub(super) const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";

/// Metadata with the labels that translation reads.
#[derive(Clone, Deserialize)]
#[serde(from = "KeptMeta<ReadLabels>")]
pub(super) struct Meta(pub(super) ObjectMeta);

/// Metadata with all labels: pools choose Services and nodes by them.
#[derive(Clone, Deserialize)]
#[serde(from = "KeptMeta<BTreeMap<String, String>>")]
pub(super) struct Labelled(pub(super) ObjectMeta);

impl Labelled {
    /// Without the labels that only a node agent reads.
    pub(super) fn without_labels(mut self) -> Self {
        if let Some(labels) = &mut self.0.labels {
            labels.retain(|name, _| READ.contains(&name.as_str()));
        }
        self.0.labels = self.0.labels.filter(|labels| !labels.is_empty());
        self
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeptMeta<L> {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    finalizers: Option<Vec<String>>,
    #[serde(default = "Option::default")]
    annotations: Option<Annotations>,
    #[serde(default = "Option::default")]
    labels: Option<L>,
}

/// Labels of [`READ`] alone.
struct ReadLabels(BTreeMap<String, String>);

impl From<KeptMeta<ReadLabels>> for Meta {
    fn from(kept: KeptMeta<ReadLabels>) -> Self {
        Self(kept.metadata(|labels| labels.0))
    }
}

impl From<KeptMeta<BTreeMap<String, String>>> for Labelled {
    fn from(kept: KeptMeta<BTreeMap<String, String>>) -> Self {
        Self(kept.metadata(|labels| labels))
    }
}

impl<L> KeptMeta<L> {
    fn metadata(self, labels: impl Fn(L) -> BTreeMap<String, String>) -> ObjectMeta {
        ObjectMeta {
            name: self.name,
            namespace: self.namespace,
            uid: self.uid,
            resource_version: self.resource_version,
            generation: self.generation,
            creation_timestamp: self.creation_timestamp,
            deletion_timestamp: self.deletion_timestamp,
            finalizers: self.finalizers.filter(|finalizers| !finalizers.is_empty()),
            annotations: self.annotations.map(|annotations| annotations.0).filter(|annotations| !annotations.is_empty()),
            labels: self.labels.map(labels).filter(|labels| !labels.is_empty()),
            ..ObjectMeta::default()
        }
    }
}

/// All annotations but the last applied configuration.
struct Annotations(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Chosen(|key| key != LAST_APPLIED)).map(Self)
    }
}

impl<'de> Deserialize<'de> for ReadLabels {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Chosen(|key| READ.contains(&key))).map(Self)
    }
}

/// Reads the entries of a map whose names are chosen; the others never take memory.
struct Chosen(fn(&str) -> bool);

impl<'de> Visitor<'de> for Chosen {
    type Value = BTreeMap<String, String>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("names and values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut kept = BTreeMap::new();
        while let Some(key) = map.next_key::<String>()? {
            if (self.0)(&key) {
                kept.insert(key, map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(kept)
    }
}

//! The door for what holds authorities: of a ConfigMap their entry alone comes in.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::api::certificates::v1::{ClusterTrustBundle, ClusterTrustBundleSpec};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{ByteString, ClusterResourceScope, NamespaceResourceScope};
use kube::Resource;
use rust_ingress_model::ObjectRef;
use rust_ingress_translate::Object;
use serde::Deserialize;

use super::AtDoor;
use super::meta::Meta;
use crate::source::cluster::seen::Seen;

at_door!(DoorConfigMap, ConfigMap, Meta, NamespaceResourceScope, {
    data: Option<Entry<String>>, binary_data: Option<Entry<ByteString>>
});
at_door!(DoorTrustBundle, ClusterTrustBundle, Meta, ClusterResourceScope, { spec: Option<ClusterTrustBundleSpec> });

/// The entry that authorities are in.
#[derive(Clone, Deserialize)]
struct Entry<T> {
    #[serde(rename = "ca.crt")]
    authorities: Option<T>,
}

impl<T> Entry<T> {
    fn kept(self) -> BTreeMap<String, T> {
        self.authorities.map(|value| ("ca.crt".to_owned(), value)).into_iter().collect()
    }
}

impl AtDoor for DoorConfigMap {
    fn enter(self, _: &ObjectRef, _: &Seen, _: bool) -> Object {
        let (data, binary_data) = (self.data.map(Entry::kept), self.binary_data.map(Entry::kept));
        Object::ConfigMap(Box::new(ConfigMap { metadata: self.metadata.0, data, binary_data, immutable: None }))
    }
}

impl AtDoor for DoorTrustBundle {
    fn enter(self, _: &ObjectRef, _: &Seen, _: bool) -> Object {
        let spec = self.spec.unwrap_or_default();
        Object::ClusterTrustBundle(Box::new(ClusterTrustBundle { metadata: self.metadata.0, spec }))
    }
}

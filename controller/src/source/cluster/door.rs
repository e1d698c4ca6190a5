//! The door: what is kept of each kind as it is read off the wire. Managed fields, most labels, the last applied
//! configuration, status and hints are skipped by the JSON reader, so that they never take memory.
//!
//! Each type here stands for a Kubernetes kind towards kube's client; `follow` turns it into the World's object.

mod meta;

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Node, NodeAddress, NodeSpec, NodeStatus, ObjectReference, Secret, Service, ServiceSpec, ServiceStatus,
};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointHints, EndpointPort, EndpointSlice};
use k8s_openapi::api::networking::v1::{
    Ingress, IngressClass, IngressClassSpec, IngressSpec, IngressStatus, ServiceCIDR, ServiceCIDRSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{ByteString, ClusterResourceScope, NamespaceResourceScope};
use kube::Resource;
use rust_ingress_model::ObjectRef;
use rust_ingress_translate::pool::{AddressPool, AddressPoolSpec, FINALIZER};
use rust_ingress_translate::{GatewayParameters, GatewayParametersSpec, Object};
use serde::Deserialize;

use self::meta::{GATEWAY_NAME, Labelled, Meta};
use super::seen::{Involved, Seen, SeenIngress, SeenService};
use crate::driver::LAST_CHANGE;

/// A kind that comes through the door.
pub(super) trait AtDoor: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Send + Sync + 'static {
    /// Notes what isn't kept in the World, and gives what is. `l4`: with what only a node agent reads.
    fn enter(self, object: &ObjectRef, seen: &Seen, l4: bool) -> Object;
}

/// Declares a kind: its own fields, and the rest as the Kubernetes type has it. [`Meta`]: with the labels that translation reads;
/// [`Labelled`]: with all of them.
macro_rules! at_door {
    ($name:ident, $kind:ident, $meta:ident, $scope:ty, { $($field:ident: $type:ty),* }) => {
        #[derive(Clone, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub(in crate::source::cluster) struct $name {
            metadata: $meta,
            $(#[serde(default)] $field: $type,)*
        }

        /// Names only: one of them is a Secret.
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{} {:?}/{:?}", stringify!($kind), self.metadata.0.namespace, self.metadata.0.name)
            }
        }

        impl Resource for $name {
            type DynamicType = ();
            type Scope = $scope;

            fn kind((): &()) -> Cow<'_, str> {
                $kind::kind(&())
            }
            fn group((): &()) -> Cow<'_, str> {
                $kind::group(&())
            }
            fn version((): &()) -> Cow<'_, str> {
                $kind::version(&())
            }
            fn plural((): &()) -> Cow<'_, str> {
                $kind::plural(&())
            }
            fn meta(&self) -> &ObjectMeta {
                &self.metadata.0
            }
            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata.0
            }
        }
    };
}

mod authority;

pub(super) use authority::{DoorConfigMap, DoorTrustBundle};

at_door!(DoorIngress, Ingress, Meta, NamespaceResourceScope, { spec: Option<IngressSpec>, status: Option<IngressStatus> });
at_door!(DoorClass, IngressClass, Meta, ClusterResourceScope, { spec: Option<IngressClassSpec> });
at_door!(DoorService, Service, Labelled, NamespaceResourceScope, { spec: Option<ServiceSpec>, status: Option<ServiceStatus> });
at_door!(DoorSlice, EndpointSlice, Meta, NamespaceResourceScope, {
    address_type: String, endpoints: Option<Vec<SlimEndpoint>>, ports: Option<Vec<EndpointPort>>
});
at_door!(DoorNode, Node, Labelled, ClusterResourceScope, { spec: Option<NodeSpec>, status: Option<SlimNodeStatus> });
at_door!(DoorServiceCidr, ServiceCIDR, Meta, ClusterResourceScope, { spec: Option<ServiceCIDRSpec> });
at_door!(DoorAddressPool, AddressPool, Meta, ClusterResourceScope, { spec: Option<AddressPoolSpec> });
at_door!(DoorGatewayParameters, GatewayParameters, Meta, NamespaceResourceScope, { spec: Option<GatewayParametersSpec> });
at_door!(DoorSecret, Secret, Meta, NamespaceResourceScope, { data: Option<TlsData> });

impl AtDoor for DoorIngress {
    fn enter(self, object: &ObjectRef, seen: &Seen, _: bool) -> Object {
        let mut metadata = self.metadata.0;
        let balancer = self.status.and_then(|status| status.load_balancer);
        seen.put_ingress(
            object.clone(),
            SeenIngress {
                uid: metadata.uid.take().unwrap_or_default(),
                resource_version: metadata.resource_version.take().unwrap_or_default(),
                addresses: balancer.and_then(|balancer| balancer.ingress).unwrap_or_default(),
            },
        );
        Object::Ingress(Box::new(Ingress { metadata, spec: self.spec, status: None }))
    }
}

impl AtDoor for DoorClass {
    fn enter(self, object: &ObjectRef, seen: &Seen, _: bool) -> Object {
        let metadata = involved(self.metadata, "networking.k8s.io/v1", object, seen);
        Object::IngressClass(Box::new(IngressClass { metadata, spec: self.spec }))
    }
}

impl AtDoor for DoorService {
    fn enter(self, object: &ObjectRef, seen: &Seen, l4: bool) -> Object {
        let Labelled(metadata) = if l4 { self.metadata } else { self.metadata.without_labels() };
        let of_gateway = metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(GATEWAY_NAME));
        let status = self.status.filter(|_| l4 || of_gateway);
        let balanced = self.spec.as_ref().is_some_and(|spec| spec.type_.as_deref() == Some("LoadBalancer"));
        if l4 && (balanced || metadata.finalizers.iter().flatten().any(|one| one == FINALIZER)) {
            seen.put_service(object.clone(), SeenService::of(&metadata, status.as_ref()));
        } else {
            seen.forget_service(object);
        }
        let metadata = involved(Meta(metadata), "v1", object, seen);
        Object::Service(Box::new(Service { metadata, spec: self.spec, status }))
    }
}

impl AtDoor for DoorSlice {
    fn enter(self, _: &ObjectRef, _: &Seen, l4: bool) -> Object {
        let mut metadata = self.metadata.0;
        let time = metadata.annotations.take().and_then(|mut annotations| annotations.remove_entry(LAST_CHANGE));
        metadata.annotations = time.filter(|_| l4).map(|entry| [entry].into());
        (metadata.uid, metadata.resource_version) = (None, None);
        let endpoints = self.endpoints.map(|endpoints| endpoints.into_iter().map(|endpoint| endpoint.kept(l4)).collect());
        let slice = EndpointSlice { metadata, address_type: self.address_type, endpoints, ports: self.ports };
        Object::EndpointSlice(Box::new(slice))
    }
}

impl AtDoor for DoorNode {
    fn enter(self, _: &ObjectRef, _: &Seen, _: bool) -> Object {
        let addresses = self.status.and_then(|status| status.addresses);
        let status = Some(NodeStatus { addresses, ..NodeStatus::default() });
        Object::Node(Box::new(Node { metadata: self.metadata.0, spec: self.spec, status }))
    }
}

impl AtDoor for DoorServiceCidr {
    fn enter(self, _: &ObjectRef, _: &Seen, _: bool) -> Object {
        Object::ServiceCidr(Box::new(ServiceCIDR { metadata: self.metadata.0, spec: self.spec, status: None }))
    }
}

impl AtDoor for DoorAddressPool {
    fn enter(self, object: &ObjectRef, seen: &Seen, _: bool) -> Object {
        let metadata = involved(self.metadata, "rust-ingress.dev/v1alpha1", object, seen);
        let spec = self.spec.unwrap_or_default();
        Object::AddressPool(Box::new(AddressPool { metadata, spec, ..AddressPool::default() }))
    }
}

impl AtDoor for DoorGatewayParameters {
    fn enter(self, object: &ObjectRef, seen: &Seen, _: bool) -> Object {
        let metadata = involved(self.metadata, "rust-ingress.dev/v1alpha1", object, seen);
        let spec = self.spec.unwrap_or_default();
        Object::GatewayParameters(Box::new(GatewayParameters { metadata, spec, ..GatewayParameters::default() }))
    }
}

impl AtDoor for DoorSecret {
    fn enter(self, _: &ObjectRef, _: &Seen, _: bool) -> Object {
        let entry = |name: &str, value: Option<ByteString>| Some((name.to_owned(), value?));
        let data = self.data.map(|data| {
            let entries = [entry("tls.crt", data.certificate), entry("tls.key", data.key)];
            entries.into_iter().flatten().collect::<BTreeMap<_, _>>()
        });
        Object::Secret(Box::new(Secret { metadata: self.metadata.0, data, ..Secret::default() }))
    }
}

/// Notes what Events need to name an object.
fn involved(Meta(mut metadata): Meta, api_version: &'static str, object: &ObjectRef, seen: &Seen) -> ObjectMeta {
    metadata.resource_version = None;
    if let Some(uid) = metadata.uid.take() {
        seen.put_other(object.clone(), Involved { api_version, uid });
    }
    metadata
}

/// The entries of a Secret that a certificate is made of. No `Debug`.
#[derive(Clone, Deserialize)]
struct TlsData {
    #[serde(rename = "tls.crt")]
    certificate: Option<ByteString>,
    #[serde(rename = "tls.key")]
    key: Option<ByteString>,
}

/// What an agent reads of a node's status: not its images, conditions and capacity.
#[derive(Clone, Deserialize)]
struct SlimNodeStatus {
    addresses: Option<Vec<NodeAddress>>,
}

/// An endpoint without deprecated topology.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SlimEndpoint {
    #[serde(default)]
    addresses: Option<Vec<String>>,
    conditions: Option<EndpointConditions>,
    target_ref: Option<Target>,
    zone: Option<String>,
    node_name: Option<String>,
    hints: Option<EndpointHints>,
}

#[derive(Clone, Deserialize)]
struct Target {
    kind: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
}

impl SlimEndpoint {
    /// Node and hints are for the choices of a node agent only.
    fn kept(self, l4: bool) -> Endpoint {
        let Self { addresses, conditions, target_ref, zone, node_name, hints } = self;
        let (node_name, hints) = if l4 { (node_name, hints) } else { (None, None) };
        let target = |Target { kind, namespace, name }| ObjectReference { kind, namespace, name, ..ObjectReference::default() };
        let target_ref = target_ref.map(target);
        let addresses = addresses.unwrap_or_default();
        Endpoint { addresses, conditions, target_ref, zone, node_name, hints, ..Endpoint::default() }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use serde_json::json;

    fn meta() -> serde_json::Value {
        json!({"name": "web", "namespace": "shop", "uid": "u-1", "resourceVersion": "7", "generation": 3,
            "creationTimestamp": "2026-01-02T03:04:05Z",
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "rust-ingress.dev/use-regex": "true"},
            "labels": {"kubernetes.io/service-name": "web", "app": "web"},
            "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}]})
    }

    #[test]
    fn an_ingress_comes_in_without_what_nobody_reads_and_its_status_is_seen() {
        let document = json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": meta(),
            "spec": {"rules": [{"host": "a.example"}]}, "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}});
        let door: DoorIngress = serde_json::from_value(document).unwrap();
        let (seen, object) = (Seen::default(), ObjectRef::new("Ingress", "shop", "web"));
        let Object::Ingress(ingress) = door.enter(&object, &seen, false) else { panic!("not an Ingress") };
        let annotations = ingress.metadata.annotations.unwrap();
        assert_eq!(annotations.keys().collect::<Vec<_>>(), ["rust-ingress.dev/use-regex"]);
        assert_eq!((ingress.metadata.managed_fields, ingress.metadata.generation), (None, Some(3)));
        assert_eq!(ingress.spec.unwrap().rules.unwrap()[0].host.as_deref(), Some("a.example"));
        let seen = seen.ingress(&object).unwrap();
        assert_eq!((seen.uid.as_str(), seen.resource_version.as_str()), ("u-1", "7"));
        assert_eq!(seen.addresses[0].ip.as_deref(), Some("192.0.2.1"));
    }

    #[test]
    fn a_slice_keeps_its_service_and_its_endpoints() {
        let mut meta = meta();
        meta["annotations"][LAST_CHANGE] = json!("2026-01-02T03:04:05Z");
        let document = json!({"metadata": meta, "addressType": "IPv4", "ports": [{"name": "http", "port": 8080}],
            "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": true}, "nodeName": "n", "zone": "z",
                "hints": {"forZones": [{"name": "z"}]}, "targetRef": {"kind": "Pod", "namespace": "shop", "name": "p", "uid": "x"}},
                {"addresses": null}]});
        let door: DoorSlice = serde_json::from_value(document).unwrap();
        let enter = |l4| match door.clone().enter(&ObjectRef::new("EndpointSlice", "shop", "web"), &Seen::default(), l4) {
            Object::EndpointSlice(slice) => slice,
            _ => panic!("not a slice"),
        };
        let endpoint = enter(true).endpoints.unwrap().swap_remove(0);
        assert_eq!((endpoint.node_name.as_deref(), endpoint.hints.is_some()), (Some("n"), true));
        let annotations = enter(true).metadata.annotations.unwrap();
        assert_eq!(annotations.keys().collect::<Vec<_>>(), [LAST_CHANGE], "an agent says how long it took since");
        let slice = enter(false);
        assert_eq!(slice.metadata.annotations, None);
        assert_eq!(slice.metadata.labels.unwrap().into_keys().collect::<Vec<_>>(), ["kubernetes.io/service-name"]);
        let endpoints = slice.endpoints.unwrap();
        let target = endpoints[0].target_ref.as_ref().unwrap();
        assert_eq!((target.name.as_deref(), target.uid.as_deref()), (Some("p"), None));
        assert_eq!((endpoints[0].zone.as_deref(), endpoints[0].hints.is_none()), (Some("z"), true));
    }

    #[test]
    fn of_a_node_comes_in_what_an_agent_reads() {
        let mut meta = meta();
        meta["labels"] = json!({"topology.kubernetes.io/zone": "a", "kubernetes.io/os": "linux"});
        meta["deletionTimestamp"] = json!("2026-01-02T03:04:05Z");
        let document = json!({"metadata": meta, "spec": {"podCIDRs": ["10.244.1.0/24"]},
            "status": {"images": [{"names": ["x"]}], "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]}});
        let door: DoorNode = serde_json::from_value(document).unwrap();
        let Object::Node(node) = door.enter(&ObjectRef::new("Node", "", "n"), &Seen::default(), true) else {
            panic!("not a node")
        };
        assert_eq!(node.metadata.labels.unwrap().into_values().collect::<Vec<_>>(), ["linux", "a"]);
        assert!(node.metadata.deletion_timestamp.is_some());
        let status = node.status.unwrap();
        assert_eq!((status.addresses.unwrap().len(), status.images), (1, None));
    }

    #[test]
    fn a_service_keeps_its_addresses_for_an_agent_only() {
        let document = json!({"metadata": meta(), "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}});
        let door: DoorService = serde_json::from_value(document).unwrap();
        for l4 in [false, true] {
            let object = door.clone().enter(&ObjectRef::new("Service", "shop", "web"), &Seen::default(), l4);
            let Object::Service(service) = object else { panic!("not a Service") };
            assert_eq!(service.status.is_some(), l4);
        }
    }

    #[test]
    fn a_secret_is_never_shown() {
        let document = json!({"metadata": meta(), "type": "kubernetes.io/tls",
            "data": {"tls.crt": "Y2VydA==", "tls.key": "a2V5", "other": "eA=="}});
        let door: DoorSecret = serde_json::from_value(document).unwrap();
        assert!(!format!("{door:?}").contains("key"), "{door:?}");
        let Object::Secret(secret) = door.enter(&ObjectRef::new("Secret", "shop", "web"), &Seen::default(), false) else {
            panic!("not a Secret")
        };
        assert_eq!(secret.data.unwrap().keys().collect::<Vec<_>>(), ["tls.crt", "tls.key"]);
    }
}

//! The objects that translation understands, and what a source says happened to them. Sources make these; the World eats them.

use k8s_openapi::api::certificates::v1::ClusterTrustBundle;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass, ServiceCIDR};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use rust_ingress_model::{Fault, ObjectRef};

use crate::gateway::parameters::GatewayParameters;
use crate::gateway_api::{BackendTlsPolicy, Gateway, GatewayClass, GrpcRoute, HttpRoute, ListenerSet, ReferenceGrant};
use crate::pool::AddressPool;

/// One Kubernetes object. Not `Debug`: a Secret must not get into a log.
#[derive(Clone)]
pub enum Object {
    /// networking.k8s.io/v1
    Ingress(Box<Ingress>),
    /// networking.k8s.io/v1
    IngressClass(Box<IngressClass>),
    /// v1
    Service(Box<Service>),
    /// discovery.k8s.io/v1
    EndpointSlice(Box<EndpointSlice>),
    /// v1; parsed at the door, its bytes are wiped.
    Secret(Box<Secret>),
    /// v1; its authorities are kept, for who refers to them.
    ConfigMap(Box<ConfigMap>),
    /// v1; its labels are kept, for listeners that take routes by them.
    Namespace(Box<Namespace>),
    /// v1; nothing reads it yet, so the World doesn't keep it.
    Pod(Box<Pod>),
    /// v1; the World keeps its facts for the node agent.
    Node(Box<Node>),
    /// networking.k8s.io/v1; for the node agent
    ServiceCidr(Box<ServiceCIDR>),
    /// rust-ingress.dev/v1alpha1; for the node agent
    AddressPool(Box<AddressPool>),
    /// rust-ingress.dev/v1alpha1
    GatewayParameters(Box<GatewayParameters>),
    /// gateway.networking.k8s.io/v1
    GatewayClass(Box<GatewayClass>),
    /// gateway.networking.k8s.io/v1
    Gateway(Box<Gateway>),
    /// gateway.networking.k8s.io/v1
    HttpRoute(Box<HttpRoute>),
    /// gateway.networking.k8s.io/v1
    GrpcRoute(Box<GrpcRoute>),
    /// gateway.networking.k8s.io/v1
    ReferenceGrant(Box<ReferenceGrant>),
    /// gateway.networking.k8s.io/v1
    BackendTlsPolicy(Box<BackendTlsPolicy>),
    /// gateway.networking.k8s.io/v1
    ListenerSet(Box<ListenerSet>),
    /// certificates.k8s.io/v1; its authorities are kept.
    ClusterTrustBundle(Box<ClusterTrustBundle>),
}

impl Object {
    /// Names the object. A namespaced object without a namespace is in `default`, as kubectl has it.
    pub fn reference(&self) -> ObjectRef {
        let (kind, namespaced, metadata) = self.parts();
        let namespace = match (namespaced, metadata.namespace.as_deref()) {
            (false, _) => "",
            (true, None | Some("")) => "default",
            (true, Some(namespace)) => namespace,
        };
        ObjectRef::new(kind, namespace, metadata.name.as_deref().unwrap_or_default())
    }

    fn parts(&self) -> (&'static str, bool, &ObjectMeta) {
        match self {
            Self::Ingress(object) => ("Ingress", true, &object.metadata),
            Self::IngressClass(object) => ("IngressClass", false, &object.metadata),
            Self::Service(object) => ("Service", true, &object.metadata),
            Self::EndpointSlice(object) => ("EndpointSlice", true, &object.metadata),
            Self::Secret(object) => ("Secret", true, &object.metadata),
            Self::ConfigMap(object) => ("ConfigMap", true, &object.metadata),
            Self::Namespace(object) => ("Namespace", false, &object.metadata),
            Self::Pod(object) => ("Pod", true, &object.metadata),
            Self::Node(object) => ("Node", false, &object.metadata),
            Self::ServiceCidr(object) => ("ServiceCIDR", false, &object.metadata),
            Self::AddressPool(object) => ("AddressPool", false, &object.metadata),
            Self::GatewayParameters(object) => ("GatewayParameters", true, &object.metadata),
            Self::GatewayClass(object) => ("GatewayClass", false, &object.metadata),
            Self::Gateway(object) => ("Gateway", true, &object.metadata),
            Self::HttpRoute(object) => ("HTTPRoute", true, &object.metadata),
            Self::GrpcRoute(object) => ("GRPCRoute", true, &object.metadata),
            Self::ReferenceGrant(object) => ("ReferenceGrant", true, &object.metadata),
            Self::BackendTlsPolicy(object) => ("BackendTLSPolicy", true, &object.metadata),
            Self::ListenerSet(object) => ("ListenerSet", true, &object.metadata),
            Self::ClusterTrustBundle(object) => ("ClusterTrustBundle", false, &object.metadata),
        }
    }
}

/// What a source says happened.
#[derive(Clone)]
pub enum Change {
    /// An object is there, new or changed.
    Put(Object),
    /// An object is gone.
    Delete(ObjectRef),
    /// All that the source itself has to say of one of its parts (kind `File`); replaces what it said before.
    Faults {
        /// What the faults are reported under.
        source: ObjectRef,
        /// Empty: nothing is wrong any more.
        faults: Vec<Fault>,
    },
    /// An object may be there, but the source may not read it. For Secrets and what holds authorities; other kinds are known as a whole or not at all.
    Unreadable {
        /// The object.
        object: ObjectRef,
        /// Why, as the rest of a sentence that begins with its name.
        why: String,
        /// What to do.
        advice: String,
    },
}

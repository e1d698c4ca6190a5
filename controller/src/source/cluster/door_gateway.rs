//! The door for the Gateway API's kinds, and for namespaces, whose labels listeners select by.
//!
//! The CRDs in a cluster may be newer than our types: a spec that can't be read is that object's trouble alone, not its list's.

use std::borrow::Cow;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube::Resource;
use rust_ingress_model::ObjectRef;
use rust_ingress_translate::Object;
use rust_ingress_translate::gateway_api::Resource as Framed;
use rust_ingress_translate::gateway_api::backendtlspolicy::BackendTlsPolicySpec;
use rust_ingress_translate::gateway_api::gateway::GatewaySpec;
use rust_ingress_translate::gateway_api::gatewayclass::GatewayClassSpec;
use rust_ingress_translate::gateway_api::httproute::HttpRouteSpec;
use rust_ingress_translate::gateway_api::listenerset::ListenerSetSpec;
use rust_ingress_translate::gateway_api::referencegrant::ReferenceGrantSpec;
use rust_ingress_translate::gateway_api::routes::GrpcRouteSpec;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::door::AtDoor;
use super::seen::{Involved, Seen};

const GROUP: &str = "gateway.networking.k8s.io";
const VERSION: &str = "gateway.networking.k8s.io/v1";

/// Declares a kind: its name, its plural, its scope, what it is in the World.
macro_rules! gateway_kind {
    ($name:ident, $kind:literal, $plural:literal, $scope:ty, $spec:ty, $object:ident) => {
        /// A kind of the Gateway API.
        #[derive(Debug, Clone, Deserialize)]
        pub(super) struct $name {
            metadata: ObjectMeta,
            spec: Value,
        }

        impl Resource for $name {
            type DynamicType = ();
            type Scope = $scope;

            fn kind((): &()) -> Cow<'_, str> {
                $kind.into()
            }
            fn group((): &()) -> Cow<'_, str> {
                GROUP.into()
            }
            fn version((): &()) -> Cow<'_, str> {
                "v1".into()
            }
            fn plural((): &()) -> Cow<'_, str> {
                $plural.into()
            }
            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }
            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }

        impl AtDoor for $name {
            fn enter(self, object: &ObjectRef, seen: &Seen, _: bool) -> Object {
                Object::$object(Box::new(framed::<$spec>(self.metadata, self.spec, object, seen)))
            }
        }
    };
}

gateway_kind!(DoorGatewayClass, "GatewayClass", "gatewayclasses", ClusterResourceScope, GatewayClassSpec, GatewayClass);
gateway_kind!(DoorGateway, "Gateway", "gateways", NamespaceResourceScope, GatewaySpec, Gateway);
gateway_kind!(DoorHttpRoute, "HTTPRoute", "httproutes", NamespaceResourceScope, HttpRouteSpec, HttpRoute);
gateway_kind!(DoorGrpcRoute, "GRPCRoute", "grpcroutes", NamespaceResourceScope, GrpcRouteSpec, GrpcRoute);
gateway_kind!(
    DoorReferenceGrant,
    "ReferenceGrant",
    "referencegrants",
    NamespaceResourceScope,
    ReferenceGrantSpec,
    ReferenceGrant
);

gateway_kind!(
    DoorBackendTlsPolicy,
    "BackendTLSPolicy",
    "backendtlspolicies",
    NamespaceResourceScope,
    BackendTlsPolicySpec,
    BackendTlsPolicy
);

gateway_kind!(DoorListenerSet, "ListenerSet", "listenersets", NamespaceResourceScope, ListenerSetSpec, ListenerSet);

/// An object of the World; one whose spec can't be read has an empty one, which asks for nothing.
fn framed<S: DeserializeOwned + Default>(mut metadata: ObjectMeta, spec: Value, object: &ObjectRef, seen: &Seen) -> Framed<S> {
    metadata.managed_fields = None;
    let version = metadata.resource_version.take().unwrap_or_default();
    seen.put_version(object.clone(), version);
    if let Some(uid) = metadata.uid.take() {
        seen.put_other(object.clone(), Involved { api_version: VERSION, uid });
    }
    let spec = serde_json::from_value(spec).unwrap_or_else(|error| {
        tracing::error!(%object, %error, "its spec can't be read, so nothing of it is served; are the CRDs newer than v1.7.0?");
        S::default()
    });
    Framed { api_version: VERSION.into(), kind: object.kind.to_string(), metadata, spec }
}

/// A namespace: its labels.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct DoorNamespace {
    metadata: ObjectMeta,
}

impl Resource for DoorNamespace {
    type DynamicType = ();
    type Scope = ClusterResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        Namespace::kind(&())
    }
    fn group((): &()) -> Cow<'_, str> {
        Namespace::group(&())
    }
    fn version((): &()) -> Cow<'_, str> {
        Namespace::version(&())
    }
    fn plural((): &()) -> Cow<'_, str> {
        Namespace::plural(&())
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl AtDoor for DoorNamespace {
    fn enter(self, _: &ObjectRef, _: &Seen, _: bool) -> Object {
        let ObjectMeta { name, labels, .. } = self.metadata;
        let metadata = ObjectMeta { name, labels, ..ObjectMeta::default() };
        Object::Namespace(Box::new(Namespace { metadata, ..Namespace::default() }))
    }
}

//! The Gateway API's objects: their specs, most of them generated from its CRDs, in the one frame that all of them have. Sources fill these.

pub mod backendtlspolicy;
pub mod gateway;
pub mod gatewayclass;
pub mod httproute;
pub mod listenerset;
pub mod referencegrant;
pub mod routes;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

/// An object: what all kinds have, and its spec. Status is written, never read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource<S> {
    /// Group and version.
    #[serde(default)]
    pub api_version: String,
    /// The kind.
    #[serde(default)]
    pub kind: String,
    /// Name, namespace, labels, generation.
    pub metadata: ObjectMeta,
    /// The rest.
    pub spec: S,
}

/// gateway.networking.k8s.io/v1
pub type GatewayClass = Resource<gatewayclass::GatewayClassSpec>;
/// gateway.networking.k8s.io/v1
pub type Gateway = Resource<gateway::GatewaySpec>;
/// gateway.networking.k8s.io/v1
pub type ListenerSet = Resource<listenerset::ListenerSetSpec>;
/// gateway.networking.k8s.io/v1
pub type BackendTlsPolicy = Resource<backendtlspolicy::BackendTlsPolicySpec>;
/// gateway.networking.k8s.io/v1
pub type HttpRoute = Resource<httproute::HttpRouteSpec>;
/// gateway.networking.k8s.io/v1
pub type GrpcRoute = Resource<routes::GrpcRouteSpec>;
/// gateway.networking.k8s.io/v1: TLSRoute, TCPRoute and UDPRoute
pub type StreamRoute = Resource<routes::StreamRouteSpec>;
/// gateway.networking.k8s.io/v1, and v1beta1 with the same fields
pub type ReferenceGrant = Resource<referencegrant::ReferenceGrantSpec>;

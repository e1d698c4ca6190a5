//! GatewayClasses: which Gateways are ours, and what we say that we can do.

use rust_ingress_model::Name;
use rust_ingress_model::status::ObjectStatus;

use super::parameters::ParametersRef;
use super::types::GatewayClass as Object;
use super::{is, isnt};
use crate::settings::{Origin, Settings};
use crate::world::World;

/// The controller name that is ours.
const CONTROLLER: &str = "rust-ingress.dev/gateway-controller";

/// Features, as the conformance suite names them, sorted. None is here before a test with traffic shows it.
const FEATURES: &[&str] = &[
    "BackendTLSPolicy",
    "BackendTLSPolicySANValidation",
    "ClusterTrustBundle",
    "GRPCRoute",
    "GRPCRouteNamedRouteRule",
    "GRPCRouteRequestHeaderModifier",
    "Gateway",
    "GatewayAddressEmpty",
    "GatewayBackendClientCertificate",
    "GatewayFrontendClientCertificateValidation",
    "GatewayFrontendClientCertificateValidationInsecureFallback",
    "GatewayHTTPListenerIsolation",
    "GatewayHTTPSListenerDetectMisdirectedRequests",
    "GatewayInfrastructure",
    "GatewayPort8080",
    "GatewayRouteHostnameIntersectionPrecedence",
    "GatewayStaticAddresses",
    "HTTPRoute",
    "HTTPRoute303RedirectStatusCode",
    "HTTPRoute307RedirectStatusCode",
    "HTTPRoute308RedirectStatusCode",
    "HTTPRouteBackendProtocolH2C",
    "HTTPRouteBackendProtocolWebSocket",
    "HTTPRouteBackendRequestHeaderModification",
    "HTTPRouteBackendTimeout",
    "HTTPRouteBackendURLRewrite",
    "HTTPRouteCORS",
    "HTTPRouteDestinationPortMatching",
    "HTTPRouteHostRewrite",
    "HTTPRouteMethodMatching",
    "HTTPRouteNamedRouteRule",
    "HTTPRouteParentRefPort",
    "HTTPRoutePathRedirect",
    "HTTPRoutePathRewrite",
    "HTTPRoutePortRedirect",
    "HTTPRouteQueryParamMatching",
    "HTTPRouteRequestMirror",
    "HTTPRouteRequestMultipleMirrors",
    "HTTPRouteRequestPercentageMirror",
    "HTTPRouteRequestTimeout",
    "HTTPRouteResponseHeaderModification",
    "HTTPRouteRetryCodes",
    "HTTPRouteRetryConnectionError",
    "HTTPRouteSchemeRedirect",
    "ListenerSet",
    "ReferenceGrant",
];

/// What is kept of a GatewayClass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Class {
    controller: String,
    generation: i64,
    pub(crate) parameters: Option<ParametersRef>,
}

impl Class {
    /// Reads a GatewayClass.
    pub(crate) fn parse(object: &Object) -> Self {
        let generation = object.metadata.generation.unwrap_or_default();
        let reference = object.spec.parameters_ref.as_ref();
        let parameters = reference.map(|one| ParametersRef::new(&one.group, &one.kind, one.namespace.as_deref(), &one.name));
        Self { controller: object.spec.controller_name.clone(), generation, parameters }
    }

    /// What to write on it; `None` where it is somebody else's.
    pub(crate) fn status(&self, world: &World) -> Option<ObjectStatus> {
        let accepted = match self.parameters.as_ref().map(|reference| world.parameters(reference)) {
            None | Some(Ok(_)) => is("Accepted", "Accepted", "Gateways of this class are served by rust-ingress"),
            Some(Err(why)) => isnt("Accepted", "InvalidParameters", format!("{why}; Gateways of this class aren't served")),
        };
        // The CRDs' own version isn't watched: whichever has these fields serves.
        let conditions = vec![accepted];
        let features = FEATURES.iter().map(|name| Name::from(*name)).collect();
        let status = ObjectStatus { generation: self.generation, conditions, features, ..ObjectStatus::default() };
        self.ours().then_some(status)
    }

    fn ours(&self) -> bool {
        self.controller == CONTROLLER
    }
}

impl World {
    /// Whether Gateways of a class are ours. In a folder without a document for it, the class named as ours is.
    pub(crate) fn gateway_class_is_ours(&self, name: &str, settings: &Settings) -> bool {
        match self.gateways.classes.get(name) {
            Some(class) => class.ours(),
            None => settings.origin == Origin::Files && name == settings.ingress_class,
        }
    }
}

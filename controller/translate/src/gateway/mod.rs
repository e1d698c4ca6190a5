//! The Gateway API: objects parsed once at the door into what translation needs. Called by the World.
//!
//! All that depends on one object alone is settled here, with the fault of each field. What depends on others (classes, grants,
//! Secrets, Services, which route is on which listener) is settled by `translate`, in [`layout`] and [`attach`] first.
//! Gateway API v1.7.0, experimental channel; `types` is made from its CRDs.

pub(crate) mod attach;
pub(crate) mod authority;
pub(crate) mod class;
pub(crate) mod filter;
pub(crate) mod grant;
mod grpc;
pub(crate) mod layout;
pub(crate) mod listener;
pub(crate) mod parameters;
pub(crate) mod policy;
pub(crate) mod ports;
pub(crate) mod route;
pub(crate) mod rule;
pub(crate) mod service;
pub(crate) mod set;
mod trust;
pub mod types;
pub(crate) mod world;

use rust_ingress_model::HostPattern;
use rust_ingress_model::status::Condition;

use crate::ingress::validate;

/// The API group of Gateways and routes.
pub(crate) const GROUP: &str = "gateway.networking.k8s.io";
/// The kinds of routes.
pub(crate) const ROUTE_KINDS: &[&str] = &["GRPCRoute", "HTTPRoute"];

/// `hostname` of a listener, or one of a route's `hostnames`.
pub(crate) fn hostname(text: &str) -> Result<HostPattern, &'static str> {
    match validate::host(text)? {
        HostPattern::OneLabel(suffix) => Ok(HostPattern::AnyLabels(suffix)),
        host => Ok(host),
    }
}

/// A condition that is true.
pub(crate) fn is(kind: &str, reason: &str, message: impl Into<String>) -> Condition {
    Condition { r#type: kind.into(), status: true, reason: reason.into(), message: message.into() }
}

/// A condition that is false.
pub(crate) fn isnt(kind: &str, reason: &str, message: impl Into<String>) -> Condition {
    Condition { r#type: kind.into(), status: false, reason: reason.into(), message: message.into() }
}

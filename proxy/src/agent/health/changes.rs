//! What differs between two plans, counted as kube-proxy does: changes of Services, and changes of their endpoints.

use rust_ingress_model::l4::L4Service;
use rust_ingress_model::l4::plan::Plan;
use rust_ingress_model::{ObjectRef, Part};

/// A Service as it was and as it is; `None`: it wasn't there, or isn't.
type Difference<'a> = (&'a ObjectRef, Option<&'a Part<L4Service>>, Option<&'a Part<L4Service>>);

/// How much changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Services that came, went, or are others.
    pub services: u64,
    /// Services whose endpoints are others, those that came or went among them.
    pub endpoints: u64,
}

/// Services that differ. Costs what changed.
pub(super) fn differing<'a>(old: &'a Plan, new: &'a Plan) -> impl Iterator<Item = Difference<'a>> {
    let gone = old.services().near_changes(new.services()).filter(|(name, _)| !new.services().contains_key(*name));
    let gone = gone.map(|(name, was)| (name, Some(was), None));
    let others = new.services().near_changes(old.services()).map(|(name, is)| (name, old.services().get(name), Some(is)));
    gone.chain(others.filter(|(_, was, is)| was != is))
}

impl Changes {
    /// From one plan to the next.
    pub fn between(old: &Plan, new: &Plan) -> Self {
        let endpoints = |service: &Part<L4Service>, other: &Part<L4Service>| {
            service.ports.iter().map(|port| &port.endpoints).eq(other.ports.iter().map(|port| &port.endpoints))
        };
        differing(old, new).fold(Self::default(), |Self { services, endpoints: others }, (_, was, is)| match (was, is) {
            (Some(was), Some(is)) if endpoints(was, is) => Self { services: services + 1, endpoints: others },
            (Some(_), Some(_)) => Self { services, endpoints: others + 1 },
            _ => Self { services: services + 1, endpoints: others + 1 },
        })
    }
}

//! An HTTPRoute, parsed once at the door.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use rust_ingress_model::status::ParentRef;
use rust_ingress_model::{BackendKey, Fault, HostPattern, Name, ObjectRef, Reason};

use super::rule::{self, RouteRule};
use super::types::HttpRoute as Object;
use super::types::httproute::HttpRouteParentRefs;
use super::{GROUP, hostname};
use crate::faults::Faults;
use crate::ingress::{Age, validate};
use crate::world::Key;

/// An HTTPRoute, parsed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Route {
    pub(crate) reference: ObjectRef,
    created: Option<Time>,
    pub(crate) generation: i64,
    /// Those that can be read; `Any` where it has none at all.
    pub(crate) hostnames: BTreeSet<HostPattern>,
    pub(crate) parents: Vec<ParentRef>,
    pub(crate) rules: Vec<RouteRule>,
    pub(crate) faults: Vec<Fault>,
}

impl Route {
    /// Parses an HTTPRoute.
    pub(crate) fn parse(reference: &ObjectRef, object: &Object) -> Self {
        let mut faults = Faults::of(reference.clone());
        let spec = &object.spec;
        let mut hostnames = BTreeSet::new();
        for (index, text) in spec.hostnames.iter().flatten().enumerate() {
            match hostname(text) {
                Ok(host) => drop(hostnames.insert(host)),
                Err(why) => {
                    let advice = "write a DNS name in lower case, or *. and one";
                    faults.error(format!("spec.hostnames[{index}]"), Reason::InvalidValue, format!("{text:?} {why}"), advice);
                }
            }
        }
        if spec.hostnames.as_ref().is_none_or(Vec::is_empty) {
            hostnames.insert(HostPattern::Any);
        }
        // The API server fills in one rule for all paths.
        let defaulted = [Default::default()];
        let rules = spec.rules.as_deref().unwrap_or(&defaulted).iter().enumerate();
        let rules = rules.map(|(index, rule)| rule::parse(reference, &format!("spec.rules[{index}]"), rule, &mut faults));
        Self {
            reference: reference.clone(),
            created: object.metadata.creation_timestamp.clone(),
            generation: object.metadata.generation.unwrap_or_default(),
            hostnames,
            parents: spec.parent_refs.iter().flatten().map(parent).collect(),
            rules: rules.collect(),
            faults: faults.into_list(),
        }
    }

    /// Namespace and name of the Gateway that a parentRef means.
    pub(crate) fn gateway(&self, parent: &ParentRef) -> Option<Key> {
        let namespace = parent.namespace.as_ref().unwrap_or(&self.reference.namespace);
        (&*parent.group == GROUP && &*parent.kind == "Gateway").then(|| (namespace.clone(), parent.name.clone()))
    }

    /// The Gateways that it refers to.
    pub(crate) fn gateways(&self) -> BTreeSet<Key> {
        self.parents.iter().filter_map(|parent| self.gateway(parent)).collect()
    }

    /// The Services that it refers to, and the fields that do.
    pub(crate) fn backends(&self) -> BTreeMap<&BackendKey, Vec<&Name>> {
        let mut backends: BTreeMap<&BackendKey, Vec<&Name>> = BTreeMap::new();
        for target in self.rules.iter().flat_map(RouteRule::targets) {
            if let Ok(key) = &target.key {
                backends.entry(key).or_default().push(&target.field);
            }
        }
        backends
    }

    /// Its place among others: oldest first.
    pub(crate) fn age(&self) -> Age {
        let name = &self.reference;
        (self.created.is_none(), self.created.clone(), name.namespace.clone(), name.name.clone())
    }
}

fn parent(parent: &HttpRouteParentRefs) -> ParentRef {
    let given = |text: &Option<String>| text.as_deref().filter(|text| !text.is_empty()).map(Name::from);
    ParentRef {
        group: parent.group.as_deref().unwrap_or(GROUP).into(),
        kind: parent.kind.as_deref().unwrap_or("Gateway").into(),
        namespace: given(&parent.namespace),
        name: parent.name.as_str().into(),
        section_name: given(&parent.section_name),
        port: parent.port.and_then(validate::port_number),
    }
}

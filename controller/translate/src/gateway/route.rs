//! A route of any kind, parsed once at the door.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use rust_ingress_model::status::ParentRef;
use rust_ingress_model::{BackendKey, Fault, HostPattern, Name, ObjectRef, Reason};

use super::rule::{self, RouteRule};
use super::types::httproute::HttpRouteParentRefs;
use super::types::{GrpcRoute, HttpRoute};
use super::{GROUP, grpc, hostname};
use crate::faults::Faults;
use crate::ingress::{Age, validate};
use crate::world::Key;

/// A route, parsed.
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
    pub(crate) fn http(reference: &ObjectRef, object: &HttpRoute) -> Self {
        let spec = &object.spec;
        // The API server fills in one rule for all paths.
        let defaulted = [Default::default()];
        let rules = spec.rules.as_deref().unwrap_or(&defaulted);
        let parse = |field: &str, rule: &_, faults: &mut Faults| rule::parse(reference, field, rule, faults);
        Self::parse(reference, &object.metadata, (spec.hostnames.as_ref(), spec.parent_refs.as_ref()), rules, parse)
    }

    /// Parses a GRPCRoute.
    pub(crate) fn grpc(reference: &ObjectRef, object: &GrpcRoute) -> Self {
        let spec = &object.spec;
        let rules = spec.rules.as_deref().unwrap_or_default();
        let parse = |field: &str, rule: &_, faults: &mut Faults| grpc::parse(reference, field, rule, faults);
        Self::parse(reference, &object.metadata, (spec.hostnames.as_ref(), spec.parent_refs.as_ref()), rules, parse)
    }

    fn parse<R>(
        reference: &ObjectRef,
        metadata: &ObjectMeta,
        (names, parents): (Option<&Vec<String>>, Option<&Vec<HttpRouteParentRefs>>),
        rules: &[R],
        parse: impl Fn(&str, &R, &mut Faults) -> RouteRule,
    ) -> Self {
        let mut faults = Faults::of(reference.clone());
        let mut hostnames = BTreeSet::new();
        for (index, text) in names.into_iter().flatten().enumerate() {
            match hostname(text) {
                Ok(host) => drop(hostnames.insert(host)),
                Err(why) => {
                    let advice = "write a DNS name in lower case, or *. and one";
                    faults.error(format!("spec.hostnames[{index}]"), Reason::InvalidValue, format!("{text:?} {why}"), advice);
                }
            }
        }
        if names.is_none_or(Vec::is_empty) {
            hostnames.insert(HostPattern::Any);
        }
        let rules = rules.iter().enumerate();
        let rules = rules.map(|(index, rule)| parse(&format!("spec.rules[{index}]"), rule, &mut faults)).collect();
        Self {
            reference: reference.clone(),
            created: metadata.creation_timestamp.clone(),
            generation: metadata.generation.unwrap_or_default(),
            hostnames,
            parents: parents.into_iter().flatten().map(parent).collect(),
            rules,
            faults: faults.into_list(),
        }
    }

    /// Namespace and name of the Gateway that a parentRef means.
    pub(crate) fn gateway(&self, parent: &ParentRef) -> Option<Key> {
        let namespace = parent.namespace.as_ref().unwrap_or(&self.reference.namespace);
        (&*parent.group == GROUP && &*parent.kind == "Gateway").then(|| (namespace.clone(), parent.name.clone()))
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

    /// Whether it and another one are of the two kinds of HTTP, and have a hostname in common under this one.
    pub(crate) fn rivals(&self, other: &Self, under: &HostPattern) -> bool {
        let http = |route: &Self| matches!(&*route.reference.kind, "GRPCRoute" | "HTTPRoute");
        let differ = self.reference.kind != other.reference.kind && http(self) && http(other);
        let within = |host: &&HostPattern| host.meets(under);
        differ
            && self.hostnames.iter().filter(within).any(|host| other.hostnames.iter().filter(within).any(|one| one.meets(host)))
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

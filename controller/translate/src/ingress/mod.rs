//! An Ingress, parsed once at the door into what translation needs; the Kubernetes object isn't kept. Called by the World.
//!
//! All that depends on the object alone is settled here: paths, hosts, backends, guards, and the faults of each field.
//! What depends on others (classes, Secrets, Services, older Ingresses) is settled by `translate`.

pub(crate) mod class;
pub(crate) mod rules;
pub(crate) mod tls;
pub(crate) mod validate;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::networking::v1::{Ingress as Object, IngressSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use rust_ingress_model::{BackendKey, BackendRef, HostPattern, Name, ObjectRef, PathMatch, Reason, Report};

use crate::annotation::{self, Wishes};
use crate::faults::Faults;
use class::{ClassWish, LEGACY};
use tls::Tls;

/// Oldest first; objects without a time (in files) come after those with one, by namespace and name.
pub(crate) type Age = (bool, Option<Time>, Name, Name);

/// One path of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    /// `spec.rules[0].http.paths[1]`
    pub(crate) field: Name,
    /// What it matches.
    pub(crate) path: PathMatch,
    /// Where it sends.
    pub(crate) backend: BackendRef,
}

/// `spec.defaultBackend` and the hosts that it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DefaultBackend {
    /// Where it sends.
    pub(crate) backend: BackendRef,
    /// The Ingress' own hosts; `Any` always, since it takes what matches no rule.
    pub(crate) hosts: BTreeSet<HostPattern>,
}

/// An Ingress, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ingress {
    pub(crate) reference: ObjectRef,
    created: Option<Time>,
    /// `metadata.generation`, or 0.
    pub(crate) generation: i64,
    /// Which class it asks for.
    pub(crate) class: ClassWish,
    /// What its annotations ask for.
    pub(crate) wishes: Wishes,
    /// Its paths by host, as written.
    pub(crate) paths: BTreeMap<HostPattern, Vec<Path>>,
    /// Its default backend.
    pub(crate) default: Option<DefaultBackend>,
    /// Its `tls` entries.
    pub(crate) tls: Tls,
    /// Where it refers to Services: the field of each reference.
    pub(crate) backends: BTreeMap<BackendKey, Vec<Name>>,
    /// What is wrong with it by itself, and verdicts on its annotations.
    pub(crate) report: Report,
}

impl Ingress {
    /// Parses an Ingress; what can't be used is left out and named in the report.
    pub(crate) fn parse(reference: &ObjectRef, object: &Object) -> Self {
        let mut faults = Faults::of(reference.clone());
        let none = BTreeMap::new();
        let annotations = object.metadata.annotations.as_ref().unwrap_or(&none);
        let (wishes, verdicts) = annotation::read(annotations, &mut faults);
        let spec = object.spec.clone().unwrap_or_default();
        let class = class_wish(annotations.get(LEGACY).filter(|class| !class.is_empty()), &spec, &mut faults);
        let rules = rules::parse(&reference.namespace, &spec, &wishes, &mut faults);
        let tls = tls::parse(&spec, &rules.hosts, &mut faults);
        Self {
            reference: reference.clone(),
            created: object.metadata.creation_timestamp.clone(),
            generation: object.metadata.generation.unwrap_or_default(),
            class,
            wishes,
            paths: rules.paths,
            default: rules.default,
            tls,
            backends: rules.backends,
            report: Report { faults: faults.into_list(), verdicts },
        }
    }

    /// Its place among others: oldest first.
    pub(crate) fn age(&self) -> Age {
        let name = &self.reference;
        (self.created.is_none(), self.created.clone(), name.namespace.clone(), name.name.clone())
    }

    /// Every host on which it has a rule, a default backend or a certificate.
    pub(crate) fn hosts(&self) -> BTreeSet<HostPattern> {
        let rules = self.paths.keys().cloned();
        let default = self.default.iter().flat_map(|default| default.hosts.iter().cloned());
        rules.chain(default).chain(self.tls.hosts().cloned()).collect()
    }

    /// The names of the Secrets that it refers to, in its own namespace.
    pub(crate) fn secrets(&self) -> BTreeSet<&Name> {
        self.tls.entries.iter().filter_map(|entry| entry.secret.as_ref()).collect()
    }
}

fn class_wish(legacy: Option<&String>, spec: &IngressSpec, faults: &mut Faults) -> ClassWish {
    match (legacy, spec.ingress_class_name.as_ref()) {
        (None, None) => ClassWish::Default,
        (None, Some(name)) => ClassWish::Field(name.as_str().into()),
        (Some(legacy), name) => {
            if let Some(name) = name.filter(|name| *name != legacy) {
                faults.warning(
                    "spec.ingressClassName",
                    Reason::Conflict,
                    format!("the annotation {LEGACY} says {legacy}, the field {name}: the annotation counts"),
                    "remove the annotation",
                );
            }
            ClassWish::Legacy(legacy.as_str().into())
        }
    }
}

//! A BackendTLSPolicy: how connections to a Service's endpoints are secured. Parsed once at the door; settled by `translate`.
//!
//! It counts for the Service, whatever route sends there. What can't be met fails closed: its Service's requests answer 503.
//! Of several for one port the one that names the port counts before those for the whole Service, then the older (GEP-713).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use rust_ingress_model::backend::{BackendTls, SubjectName, Verify};
use rust_ingress_model::{Fault, Name, ObjectRef, Reason};

use super::GROUP;
use super::authority::{AuthorityRef, Reasons};
use super::layout::Why;
use super::types::BackendTlsPolicy as Object;
use super::types::backendtlspolicy::BackendTlsPolicyValidation as Validation;
use crate::faults::Faults;
use crate::ingress::{Age, validate};
use crate::world::{Key, World};

/// Reasons of GEP-1897.
const REASONS: Reasons = Reasons { kind: "InvalidKind", reference: "InvalidCACertificateRef" };

/// A BackendTLSPolicy, parsed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Policy {
    pub(crate) reference: ObjectRef,
    created: Option<Time>,
    pub(crate) generation: i64,
    pub(crate) targets: Vec<Target>,
    trust: Trust,
    server_name: String,
    names: Vec<SubjectName>,
    /// Why it can't be met, whatever it refers to.
    refused: Option<Why>,
    pub(crate) faults: Vec<Fault>,
}

/// What it counts for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Target {
    pub(crate) service: Key,
    /// The name of one of its ports; `None`: all that no policy names.
    pub(crate) port: Option<Name>,
}

#[derive(Debug, Clone, PartialEq)]
enum Trust {
    System,
    Authorities(Vec<AuthorityRef>),
}

/// A policy with its references looked up.
pub(crate) struct Settled {
    /// How endpoints are verified, or why that can't be.
    pub(crate) tls: Result<BackendTls, Why>,
    /// What is wrong with its references.
    pub(crate) unresolved: Option<Why>,
}

impl Policy {
    /// Parses a BackendTLSPolicy.
    pub(crate) fn parse(reference: &ObjectRef, object: &Object) -> Self {
        let mut faults = Faults::of(reference.clone());
        let (spec, namespace) = (&object.spec, &reference.namespace);
        let mut targets = Vec::new();
        for (index, target) in spec.target_refs.iter().enumerate() {
            if (&*target.group, &*target.kind) != ("", "Service") {
                let message = format!("a {} of group {:?} can't be a target: nothing is done for it", target.kind, target.group);
                faults.error(format!("spec.targetRefs[{index}]"), Reason::InvalidValue, message, "name a Service");
                continue;
            }
            let port = target.section_name.as_deref().filter(|name| !name.is_empty()).map(Name::from);
            targets.push(Target { service: (namespace.clone(), target.name.as_str().into()), port });
        }
        let mut refused = None;
        let validation = &spec.validation;
        let trust = trust(namespace, validation, &mut refused);
        let names = names(validation, &mut refused);
        if !validate::subdomain(&validation.hostname) {
            let message = format!("validation.hostname {:?} isn't a DNS name; write one in lower case", validation.hostname);
            refused.get_or_insert(("Invalid", message));
        }
        // Options of others say nothing to us; one of ours, or of the API's own, that isn't known may be a guard.
        let strange = |name: &&String| !name.contains('/') || name.starts_with("rust-ingress.dev/");
        if let Some(name) = spec.options.iter().flat_map(|options| options.keys()).find(strange) {
            refused.get_or_insert(("Invalid", format!("the option {name} isn't known; remove it")));
        }
        Self {
            reference: reference.clone(),
            created: object.metadata.creation_timestamp.clone(),
            generation: object.metadata.generation.unwrap_or_default(),
            targets,
            trust,
            server_name: validation.hostname.clone(),
            names,
            refused,
            faults: faults.into_list(),
        }
    }

    /// The objects that hold its authorities.
    pub(crate) fn bundles(&self) -> impl Iterator<Item = &ObjectRef> {
        let refs = match &self.trust {
            Trust::Authorities(refs) => refs.as_slice(),
            Trust::System => &[],
        };
        refs.iter().filter_map(|reference| reference.object.as_ref())
    }

    /// Its place among others: oldest first.
    fn age(&self) -> Age {
        let name = &self.reference;
        (self.created.is_none(), self.created.clone(), name.namespace.clone(), name.name.clone())
    }

    fn has(&self, service: &Key, port: Option<&str>) -> bool {
        self.targets.iter().any(|target| target.service == *service && target.port.as_deref() == port)
    }
}

fn trust(namespace: &Name, validation: &Validation, refused: &mut Option<Why>) -> Trust {
    let refs = validation.ca_certificate_refs.as_deref().unwrap_or_default();
    let known = validation.well_known_ca_certificates.as_deref().filter(|known| !known.is_empty());
    let wrong = match (refs.is_empty(), known) {
        (true, Some("System")) => return Trust::System,
        (false, None) => None,
        (true, None) => Some("the policy names no authority; write validation.caCertificateRefs".to_owned()),
        (false, Some(_)) => Some("both caCertificateRefs and wellKnownCACertificates are given; write one of them".to_owned()),
        (true, Some(other)) => Some(format!("wellKnownCACertificates {other:?} isn't known; write System")),
    };
    *refused = wrong.map(|message| ("Invalid", message));
    let parse = |one: &super::types::backendtlspolicy::BackendTlsPolicyValidationCaCertificateRefs| {
        AuthorityRef::parse(namespace, (&one.group, &one.kind), None, &one.name)
    };
    Trust::Authorities(refs.iter().map(parse).collect())
}

fn names(validation: &Validation, refused: &mut Option<Why>) -> Vec<SubjectName> {
    let mut names = Vec::new();
    for one in validation.subject_alt_names.iter().flatten() {
        match (&*one.r#type, one.hostname.as_deref(), one.uri.as_deref()) {
            ("Hostname", Some(name), _) if validate::host(name).is_ok() => names.push(SubjectName::Dns(name.into())),
            ("URI", _, Some(uri)) if uri.contains(':') => names.push(SubjectName::Uri(uri.into())),
            _ => {
                let message = "one of validation.subjectAltNames is neither a hostname nor a URI; correct it".to_owned();
                refused.get_or_insert(("Invalid", message));
            }
        }
    }
    names
}

impl World {
    /// The policy that counts for a port of a Service.
    pub(crate) fn policy_of(&self, service: &Key, port: Option<&str>) -> Option<&Policy> {
        let oldest = |port: Option<&str>| {
            let all = self.gateways.policies_of.get(service).filter_map(|key| self.gateways.policies.get(key));
            all.filter(|policy| policy.has(service, port)).min_by_key(|policy| policy.age())
        };
        port.and_then(|port| oldest(Some(port))).or_else(|| oldest(None)).map(|policy| &**policy)
    }

    /// The older policy for one of a policy's targets.
    pub(crate) fn rival(&self, policy: &Policy) -> Option<&Policy> {
        policy.targets.iter().find_map(|target| {
            let all = self.gateways.policies_of.get(&target.service).filter_map(|key| self.gateways.policies.get(key));
            let older = |other: &&std::sync::Arc<Policy>| {
                other.has(&target.service, target.port.as_deref()) && other.age() < policy.age()
            };
            all.into_iter().find(older).map(|policy| &**policy)
        })
    }

    /// Looks up what a policy refers to.
    pub(crate) fn settle(&self, policy: &Policy) -> Settled {
        let (verify, unresolved) = match &policy.trust {
            Trust::System => (Verify::System, None),
            Trust::Authorities(refs) => {
                let from = ((GROUP, "BackendTLSPolicy"), &policy.reference.namespace);
                let (found, wrong) = self.authorities(refs, from, REASONS);
                (Verify::Authorities(found), wrong)
            }
        };
        let none = matches!(&verify, Verify::Authorities(found) if found.is_empty());
        let tls = match (&policy.refused, &unresolved) {
            (Some(why), _) => Err(why.clone()),
            (None, Some((_, message))) if none => Err(("NoValidCACertificate", message.clone())),
            (None, _) => Ok(BackendTls {
                server_name: Some(policy.server_name.clone()),
                verify,
                subject_names: policy.names.clone(),
                client_certificate: None,
            }),
        };
        Settled { tls, unresolved }
    }
}

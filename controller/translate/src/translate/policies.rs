//! What is said of BackendTLSPolicies: one entry for each Gateway of ours with a route to one of their Services.

use std::collections::BTreeSet;

use rust_ingress_model::status::{ObjectStatus, ParentRef, ParentStatus};
use rust_ingress_model::{Fault, ObjectRef, Report, ReportKey, StatusPlan};

use super::Work;
use super::gateway_status::told;
use crate::dirty::Dirty;
use crate::faults::Faults;
use crate::gateway::layout::{Layout, Why};
use crate::gateway::policy::{Policy, Settled};
use crate::gateway::{GROUP, is, isnt};
use crate::world::Key;

/// The kind.
const KIND: &str = "BackendTLSPolicy";

impl Work<'_> {
    /// Plans the status of policies that are dirty.
    pub(super) fn policy_status(&self, layout: &Layout<'_>, dirty: &Dirty, plan: &mut StatusPlan) {
        for key in &dirty.policies {
            let policy = self.world.gateways.policies.get(key);
            let status = policy.map(|policy| self.of_policy(layout, policy)).filter(|status| !status.ancestors.is_empty());
            plan.objects.insert(ObjectRef::new(KIND, &key.0, &key.1), status);
        }
    }

    fn of_policy(&self, layout: &Layout<'_>, policy: &Policy) -> ObjectStatus {
        let Settled { tls, unresolved } = self.world.settle(policy);
        let accepted = match self.refusal(policy, tls.err()) {
            Some((reason, message)) => isnt("Accepted", reason, message),
            None => is("Accepted", "Accepted", "connections to the Service's endpoints are verified so"),
        };
        let resolved = match &unresolved {
            Some((reason, message)) => isnt("ResolvedRefs", reason, message),
            None => is("ResolvedRefs", "ResolvedRefs", "everything that the policy refers to is there"),
        };
        let ancestors = self.ancestors(layout, policy).into_iter().map(|(namespace, name)| {
            let parent = ParentRef {
                group: GROUP.into(),
                kind: "Gateway".into(),
                namespace: Some(namespace),
                name,
                section_name: None,
                port: None,
            };
            ParentStatus { parent, conditions: vec![accepted.clone(), resolved.clone()] }
        });
        ObjectStatus { generation: policy.generation, ancestors: ancestors.collect(), ..ObjectStatus::default() }
    }

    fn refusal(&self, policy: &Policy, wrong: Option<Why>) -> Option<Why> {
        let rival = || self.world.rival(policy);
        let conflict =
            || rival().map(|older| ("Conflicted", format!("{} is older and has the same target; remove one", older.reference)));
        conflict().or(wrong).or_else(|| self.unfound(policy))
    }

    /// A port that the Service doesn't have.
    fn unfound(&self, policy: &Policy) -> Option<Why> {
        policy.targets.iter().find_map(|target| {
            let (service, port) = (self.world.services.get(&target.service)?, target.port.as_ref()?);
            let mut ports = service.spec.iter().flat_map(|spec| &spec.ports).flatten();
            let there = ports.any(|one| one.name.as_deref() == Some(port));
            let (namespace, name) = &target.service;
            (!there)
                .then(|| ("TargetNotFound", format!("Service {namespace}/{name} has no port named {port}; correct sectionName")))
        })
    }

    /// Gateways of ours with a route to one of the policy's Services.
    fn ancestors(&self, layout: &Layout<'_>, policy: &Policy) -> BTreeSet<Key> {
        let gateways = &self.world.gateways;
        let services = policy.targets.iter().map(|target| &target.service);
        let ports = services.flat_map(|service| gateways.backends_of(service));
        let routes = ports.flat_map(|port| gateways.backends.get(port)).filter_map(|route| gateways.routes.get(route));
        routes.flat_map(|route| gateways.gateways_of(route)).filter(|key| layout.gateways.contains_key(key)).collect()
    }

    /// What is said of policies that are dirty.
    pub(super) fn policy_reports(&mut self, dirty: &Dirty) {
        for key in &dirty.policies {
            let faults = self.world.gateways.policies.get(key).map(|policy| self.policy_faults(policy)).unwrap_or_default();
            let object = ObjectRef::new(KIND, &key.0, &key.1);
            self.report(ReportKey::Object(object), Report { faults, verdicts: Vec::new() });
        }
    }

    fn policy_faults(&self, policy: &Policy) -> Vec<Fault> {
        let mut faults = Faults::of(policy.reference.clone());
        let Settled { tls, unresolved } = self.world.settle(policy);
        let failed = tls.is_err();
        if let Some(why) = self.refusal(policy, tls.err()) {
            told(&mut faults, "spec".into(), &why);
        }
        if let Some(why) = unresolved.filter(|_| !failed) {
            told(&mut faults, "spec.validation.caCertificateRefs".into(), &why);
        }
        [policy.faults.clone(), faults.into_list()].concat()
    }
}

//! The World's part for BackendTLSPolicies and authorities: who refers to what, and what each change makes dirty.

use std::sync::Arc;

use rust_ingress_model::{BackendKey, Fingerprint, ObjectRef};

use super::authority::Bundle;
use super::layout::Why;
use super::policy::Policy;
use super::route::Route;
use super::world::Gateways;
use crate::world::{Key, World};

impl Gateways {
    /// The backends of a route: the ports that it refers to, and the same again for each of its Gateways that shows endpoints a
    /// certificate of its own.
    pub(super) fn keys_of(&self, route: &Route) -> Vec<BackendKey> {
        let shows = |key: &Key| self.gateways.get(key).is_some_and(|gateway| gateway.client_certificate.is_some());
        let gateways: Vec<Key> = self.gateways_of(route).into_iter().filter(shows).collect();
        let own = |key: &BackendKey| {
            let own = gateways.iter().map(|gateway| BackendKey { gateway: Some(gateway.clone()), ..key.clone() });
            own.collect::<Vec<_>>()
        };
        route.backends().into_keys().flat_map(|key| own(key).into_iter().chain([key.clone()])).collect()
    }
}

impl World {
    pub(crate) fn set_policy(&mut self, key: &Key, new: Option<Policy>) {
        let old = self.gateways.policies.get(key).cloned();
        if old.as_deref() == new.as_ref() {
            return;
        }
        self.references += 1;
        self.dirty.policies.insert(key.clone());
        if let Some(old) = old {
            self.touch_targets(&old);
            old.targets.iter().for_each(|target| self.gateways.policies_of.remove(&target.service, key));
            old.bundles().for_each(|bundle| self.gateways.bundle_policies.remove(bundle, key));
            self.gateways.policies.remove(key);
        }
        if let Some(new) = new {
            new.targets.iter().for_each(|target| self.gateways.policies_of.insert(target.service.clone(), key.clone()));
            new.bundles().for_each(|bundle| self.gateways.bundle_policies.insert(bundle.clone(), key.clone()));
            self.touch_targets(&new);
            self.gateways.policies.insert(key.clone(), Arc::new(new));
        }
    }

    /// Authorities have come, gone or changed.
    pub(crate) fn set_bundle(&mut self, object: ObjectRef, new: Option<Bundle>) {
        if self.gateways.bundles.get(&object) == new.as_ref() {
            return;
        }
        let policies: Vec<Key> = self.gateways.bundle_policies.get(&object).cloned().collect();
        for key in policies {
            if let Some(policy) = self.gateways.policies.get(&key).cloned() {
                self.dirty.policies.insert(key);
                self.touch_targets(&policy);
            }
        }
        let gateways: Vec<Key> = self.gateways.bundle_gateways.get(&object).cloned().collect();
        for key in gateways {
            self.touch_gateway(&key);
        }
        match new {
            Some(bundle) => drop(self.gateways.bundles.insert(object, bundle)),
            None => drop(self.gateways.bundles.remove(&object)),
        }
    }

    /// Makes dirty the Services of a policy, and what is said of others for them.
    fn touch_targets(&mut self, policy: &Policy) {
        for target in &policy.targets {
            self.touch_policies_of(&target.service);
            self.dirty.backends.extend(self.index.backends_of(&target.service).cloned());
            self.dirty.backends.extend(self.gateways.backends_of(&target.service).cloned());
        }
    }

    /// What is said of policies depends on which Gateways lead to their Services.
    pub(super) fn touch_policies_of(&mut self, service: &Key) {
        self.dirty.policies.extend(self.gateways.policies_of.get(service).cloned());
    }

    /// The certificate that a Gateway shows endpoints. `None`: it shows none.
    pub(crate) fn client_certificate(&self, gateway: &Key) -> Option<Result<Fingerprint, Why>> {
        let gateway = self.gateways.gateways.get(gateway)?;
        let reference = gateway.client_certificate.as_ref()?;
        Some(self.certificate_of(&gateway.reference, reference).map_err(|(reason, message)| match reason {
            "InvalidCertificateRef" => ("InvalidClientCertificateRef", message),
            _ => (reason, message),
        }))
    }
}

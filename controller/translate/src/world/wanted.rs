//! Which Secrets, and which objects with authorities, the World needs: sources watch them one by one, and no others.

use std::collections::BTreeSet;

use rust_ingress_model::{Certificate, Name, ObjectRef};

use super::World;
use crate::ingress::Ingress;
use crate::ingress::class::{Classes, Owner};
use crate::settings::{DefaultCertificate, Settings};

impl World {
    /// Changes whenever [`Self::wanted_objects`] may have.
    pub fn references(&self) -> u64 {
        self.references
    }

    /// Each Secret that an Ingress or a Gateway of ours names, and what holds the authorities of policies.
    pub fn wanted_objects(&self, settings: &Settings) -> BTreeSet<ObjectRef> {
        let classes = Classes::new(&self.classes, settings);
        let ours = |key| self.ingresses.get(key).is_some_and(|ingress| classes.owner(&ingress.class) == Owner::Us);
        let wanted = self.index.secrets.iter().filter(|(_, users)| users.iter().any(ours));
        let ours =
            |key| self.gateways.gateways.get(key).is_some_and(|gateway| self.gateway_class_is_ours(&gateway.class, settings));
        let of_gateways = self.gateways.secrets.iter().filter(|(_, users)| users.iter().any(ours));
        let of_set = |key| self.gateways.sets.get(key).and_then(|set| set.gateway.as_ref()).is_some_and(ours);
        let of_sets = self.gateways.set_secrets.iter().filter(|(_, users)| users.iter().any(of_set));
        let secrets =
            wanted.chain(of_gateways).chain(of_sets).map(|((namespace, name), _)| ObjectRef::new("Secret", namespace, name));
        let of_clients = self.gateways.bundle_gateways.iter().filter(|(_, users)| users.iter().any(ours));
        let bundles = self.gateways.bundle_policies.keys().chain(of_clients.map(|(bundle, _)| bundle)).cloned();
        secrets.chain(bundles).collect()
    }

    /// A Secret as the default certificate; else what is wrong with it, and what to do. `None`: it isn't there.
    pub fn default_certificate(&self, secret: &(Name, Name)) -> Option<Result<DefaultCertificate, (String, String)>> {
        Some(match self.secrets.get(secret)? {
            Ok(usable) => Ok(DefaultCertificate {
                fingerprint: usable.fingerprint,
                pair: usable.pair.clone(),
                certificate: Certificate::clone(&usable.certificate),
            }),
            Err(unusable) => Err((unusable.why.clone(), unusable.advice.to_string())),
        })
    }
}

/// Whether two states of an Ingress may want different Secrets.
pub(super) fn differ(old: Option<&Ingress>, new: Option<&Ingress>) -> bool {
    let of = |ingress: &Ingress| ingress.secrets().into_iter().cloned().collect::<BTreeSet<Name>>();
    let (before, after) = (old.map(of).unwrap_or_default(), new.map(of).unwrap_or_default());
    let moved = old.map(|ingress| &ingress.class) != new.map(|ingress| &ingress.class);
    before != after || (moved && !before.is_empty())
}

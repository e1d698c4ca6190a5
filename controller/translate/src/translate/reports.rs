//! What is said of each object by itself: Ingresses, IngressClasses, Services, and what sources say of their files.

use rust_ingress_model::{Fault, ObjectRef, Reason, Report, ReportKey};

use super::{Work, share};
use crate::annotation;
use crate::faults::Faults;
use crate::gateway::ROUTE_KINDS;
use crate::ingress::class::Owner;
use crate::l4::{self, L4};
use crate::pool::Addresses;
use crate::settings::Origin;
use crate::world::{Key, SERVICE_NAME};

impl Work<'_> {
    /// Computes the report of one object again.
    pub(super) fn object_report(&mut self, object: &ObjectRef) {
        let key = (object.namespace.clone(), object.name.clone());
        let faults = |faults| Report { faults, verdicts: Vec::new() };
        let report = match (&*object.kind, self.world.sources.get(object)) {
            (_, Some(said)) => faults(said.clone()),
            ("Ingress", None) => self
                .world
                .ingresses
                .get(&key)
                .map(|ingress| match self.classes.owner(&ingress.class) {
                    Owner::Others => Report::default(),
                    Owner::NotFound => faults(self.classes.not_found(object, &ingress.class)),
                    Owner::Us => {
                        let mut report = ingress.report.clone();
                        report.faults.extend(self.secret_faults(ingress));
                        report
                    }
                })
                .unwrap_or_default(),
            ("IngressClass", None) => faults(self.classes.faults(object)),
            ("Service", None) => {
                let annotations = self.world.services.get(&key).and_then(|service| service.metadata.annotations.as_ref());
                let said = annotations.map_or_else(Vec::new, |all| annotation::service_faults(object, all, self.settings.origin));
                let claim = self.world.l4.as_ref().map(|l4| l4.addresses.claim_faults(object)).unwrap_or_default();
                faults([said, self.l4_service(object, &key), claim].concat())
            }
            ("AddressPool", None) => {
                let addresses = self.world.l4.as_ref().map(|l4| &l4.addresses);
                self.snapshot.pools = addresses.map(Addresses::pools).unwrap_or_default();
                faults(addresses.map(|all| all.pool_faults(&object.name)).unwrap_or_default())
            }
            ("ServiceCIDR", None) => {
                self.snapshot.service_cidrs = self.world.l4.as_ref().map(L4::cidrs).unwrap_or_default();
                Report::default()
            }
            ("EndpointSlice", None) if self.settings.origin == Origin::Files && self.world.stray_slices.contains(&key) => {
                faults(stray_slice(object))
            }
            // Said with their status, by `gateway_status`.
            ("Gateway" | "BackendTLSPolicy" | "ListenerSet", None) => return,
            (kind, None) if ROUTE_KINDS.contains(&kind) => return,
            _ => Report::default(),
        };
        self.report(ReportKey::Object(object.clone()), report);
    }
}

impl Work<'_> {
    /// Computes again what the node agent programs of a Service; gives what is wrong with that.
    fn l4_service(&mut self, object: &ObjectRef, key: &Key) -> Vec<Fault> {
        let Some(l4) = &self.world.l4 else { return Vec::new() };
        let programmed = l4::programmed(self.world, l4, self.settings, key);
        match programmed.service {
            Some(service) => {
                let part = share(self.previous.services.get(object), service);
                self.snapshot.services.insert(object.clone(), part);
            }
            None => drop(self.snapshot.services.remove(object)),
        }
        programmed.faults
    }
}

/// In a cluster controllers keep slices of their own; in a folder the label was forgotten.
fn stray_slice(object: &ObjectRef) -> Vec<Fault> {
    let mut faults = Faults::of(object.clone());
    faults.error(
        "metadata.labels",
        Reason::Required,
        format!("the label {SERVICE_NAME} is missing: the slice belongs to no Service"),
        format!("write the Service's name as label {SERVICE_NAME}"),
    );
    faults.into_list()
}

//! What the API server last said of objects that the World doesn't keep: what the status writer needs to write on them.
//!
//! The cluster source fills it before it hands on the change, so that whoever is told of a turn finds its objects here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::{LoadBalancerIngress, ServiceStatus};
use k8s_openapi::api::networking::v1::IngressLoadBalancerIngress;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use rust_ingress_model::ObjectRef;

/// An Ingress, as last seen.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SeenIngress {
    /// `metadata.uid`
    pub uid: String,
    /// `metadata.resourceVersion`: what a write has to name.
    pub resource_version: String,
    /// `status.loadBalancer.ingress`
    pub addresses: Vec<IngressLoadBalancerIngress>,
}

/// A Service that pools have to do with, as last seen.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SeenService {
    /// `metadata.resourceVersion`
    pub resource_version: String,
    /// `metadata.finalizers`
    pub finalizers: Vec<String>,
    /// `status.loadBalancer.ingress`
    pub addresses: Vec<LoadBalancerIngress>,
    /// `status.conditions`
    pub conditions: Vec<Condition>,
}

impl SeenService {
    /// What matters of a Service.
    pub fn of(metadata: &ObjectMeta, status: Option<&ServiceStatus>) -> Self {
        let balancer = status.and_then(|status| status.load_balancer.as_ref());
        Self {
            resource_version: metadata.resource_version.clone().unwrap_or_default(),
            finalizers: metadata.finalizers.clone().unwrap_or_default(),
            addresses: balancer.and_then(|balancer| balancer.ingress.clone()).unwrap_or_default(),
            conditions: status.and_then(|status| status.conditions.clone()).unwrap_or_default(),
        }
    }
}

/// Which object an Event is about, beside its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Involved {
    /// `networking.k8s.io/v1`
    pub api_version: &'static str,
    /// `metadata.uid`
    pub uid: String,
}

/// The objects in the cluster, as last seen. Clones share it.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<Tables>>);

#[derive(Default)]
struct Tables {
    ingresses: HashMap<ObjectRef, SeenIngress>,
    services: HashMap<ObjectRef, SeenService>,
    others: HashMap<ObjectRef, Involved>,
    versions: HashMap<ObjectRef, String>,
}

impl Seen {
    /// The Ingress of this name, unless it is gone.
    pub fn ingress(&self, object: &ObjectRef) -> Option<SeenIngress> {
        self.read(|tables| tables.ingresses.get(object).cloned())
    }

    /// The Service of this name, where pools have to do with it.
    pub fn service(&self, object: &ObjectRef) -> Option<SeenService> {
        self.read(|tables| tables.services.get(object).cloned())
    }

    /// What an Event about an Ingress, IngressClass or Service has to name.
    pub fn involved(&self, object: &ObjectRef) -> Option<Involved> {
        self.read(|tables| match tables.ingresses.get(object) {
            Some(SeenIngress { uid, .. }) => Some(Involved { api_version: "networking.k8s.io/v1", uid: uid.clone() }),
            None => tables.others.get(object).cloned(),
        })
    }

    /// `metadata.resourceVersion` of a GatewayClass, Gateway or route, unless it is gone.
    pub fn version(&self, object: &ObjectRef) -> Option<String> {
        self.read(|tables| tables.versions.get(object).cloned())
    }

    /// A GatewayClass, Gateway or route is there, or changed.
    pub fn put_version(&self, object: ObjectRef, version: String) {
        self.write(|tables| drop(tables.versions.insert(object, version)));
    }

    /// An Ingress is there, or changed.
    pub fn put_ingress(&self, object: ObjectRef, ingress: SeenIngress) {
        self.write(|tables| drop(tables.ingresses.insert(object, ingress)));
    }

    /// A Service that pools have to do with is there, or changed.
    pub fn put_service(&self, object: ObjectRef, service: SeenService) {
        self.write(|tables| drop(tables.services.insert(object, service)));
    }

    /// Pools have nothing to do with a Service any more.
    pub fn forget_service(&self, object: &ObjectRef) {
        self.write(|tables| drop(tables.services.remove(object)));
    }

    /// Another object is there.
    pub fn put_other(&self, object: ObjectRef, involved: Involved) {
        self.write(|tables| drop(tables.others.insert(object, involved)));
    }

    /// An object is gone.
    pub fn remove(&self, object: &ObjectRef) {
        self.write(|tables| {
            tables.ingresses.remove(object);
            tables.services.remove(object);
            tables.others.remove(object);
            tables.versions.remove(object);
        });
    }

    fn read<T>(&self, look: impl FnOnce(&Tables) -> T) -> T {
        look(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self, change: impl FnOnce(&mut Tables)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_find_the_object_until_it_is_gone() {
        let seen = Seen::default();
        let ingress = ObjectRef::new("Ingress", "a", "web");
        let service = ObjectRef::new("Service", "a", "web");
        seen.put_ingress(ingress.clone(), SeenIngress { uid: "1".into(), resource_version: "7".into(), addresses: Vec::new() });
        seen.put_other(service.clone(), Involved { api_version: "v1", uid: "2".into() });
        assert_eq!(seen.involved(&ingress).map(|found| found.uid), Some("1".into()));
        assert_eq!(seen.involved(&service).map(|found| found.api_version), Some("v1"));
        assert_eq!(seen.ingress(&ingress).map(|found| found.resource_version), Some("7".into()));
        seen.remove(&ingress);
        assert_eq!(seen.ingress(&ingress), None);
        assert!(seen.involved(&service).is_some());
    }
}

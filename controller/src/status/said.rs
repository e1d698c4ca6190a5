//! What has been said of objects of the Gateway API: what stands there isn't written again. Part of the desk.
//!
//! Statuses are large and there may be many, so the last one that we wrote is compared, not what stands in the cluster: that is
//! read again only where the object's version isn't the one that our write made.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rust_ingress_model::ObjectRef;
use rust_ingress_model::status::ObjectStatus;

use crate::status::desk::Write;
use crate::status::gateway_service::Peer;

/// What has been said.
#[derive(Default)]
pub struct Said {
    last: BTreeMap<ObjectRef, Last>,
    peers: Arc<BTreeSet<Peer>>,
}

/// What stands on one object since our last write.
struct Last {
    status: Arc<ObjectStatus>,
    peers: Arc<BTreeSet<Peer>>,
    /// The version that the watch had then, and the one that our write made.
    versions: [Option<String>; 2],
}

impl Said {
    /// The Pods that Services of Gateways lead to; whether they are others than before.
    pub fn peers(&mut self, peers: Arc<BTreeSet<Peer>>) -> bool {
        let changed = self.peers != peers;
        self.peers = peers;
        changed
    }

    /// What has to be said of an object that the watch has in this version.
    pub fn decide(
        &mut self,
        object: &ObjectRef,
        version: &Option<String>,
        known: Option<&ObjectStatus>,
        leaving: bool,
    ) -> Option<Write> {
        if version.is_none() {
            self.last.remove(object);
            return None;
        }
        let nothing = ObjectStatus::default();
        let entries = object.kind.ends_with("Route") || &*object.kind == "BackendTLSPolicy";
        let status = known.or_else(|| (leaving && entries).then_some(&nothing))?;
        let leads = status.gateway.as_ref().is_some_and(|gateway| gateway.service.is_some());
        let stands = self.last.get(object).is_some_and(|last| {
            *last.status == *status && last.versions.contains(version) && (!leads || last.peers == self.peers)
        });
        (!stands).then(|| Write::Say(Arc::new(status.clone()), self.peers.clone()))
    }

    /// It has been said; the object is of this version since.
    pub fn done(
        &mut self,
        object: &ObjectRef,
        status: Arc<ObjectStatus>,
        peers: Arc<BTreeSet<Peer>>,
        version: Option<String>,
        seen: Option<String>,
    ) {
        self.last.insert(object.clone(), Last { status, peers, versions: [seen, version] });
    }

    /// Somebody else leads.
    pub fn forget(&mut self) {
        self.last.clear();
    }
}

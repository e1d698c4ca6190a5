//! What has to be computed again: written by the World as it applies changes, read by `translate`.

use std::collections::BTreeSet;

use rust_ingress_model::{BackendKey, Fingerprint, HostPattern, ObjectRef};

use crate::world::Key;

/// What has to be computed again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dirty {
    all: bool,
    /// Virtual hosts: their rules, their certificate, their conflicts.
    pub(crate) hosts: BTreeSet<HostPattern>,
    /// Service ports.
    pub(crate) backends: BTreeSet<BackendKey>,
    /// Objects whose own report may change.
    pub(crate) objects: BTreeSet<ObjectRef>,
    /// Certificates that came, went or moved between Secrets.
    pub(crate) certificates: BTreeSet<Fingerprint>,
    /// Where Gateways listen may have changed, and so what is said of all of them: two may want one port.
    pub(crate) layout: bool,
    /// Gateways whose own report or count of routes may change.
    pub(crate) gateways: BTreeSet<Key>,
    /// Routes whose status may change.
    pub(crate) routes: BTreeSet<ObjectRef>,
    /// ListenerSets whose own report may change, whatever their Gateway's.
    pub(crate) sets: BTreeSet<Key>,
    /// BackendTLSPolicies whose status may change.
    pub(crate) policies: BTreeSet<Key>,
    /// Virtual hosts of Gateways.
    pub(crate) route_hosts: BTreeSet<(Key, HostPattern)>,
}

impl Dirty {
    /// Everything: for the first translation and after a change of settings.
    pub fn all() -> Self {
        Self { all: true, ..Self::default() }
    }

    /// Whether this is [`Dirty::all`].
    pub fn is_all(&self) -> bool {
        self.all
    }

    /// Whether keys may have changed: a certificate can get another one without a change of its own.
    pub fn has_certificates(&self) -> bool {
        self.all || !self.certificates.is_empty()
    }

    /// Whether anything of the Gateway API has to be.
    pub(crate) fn has_gateways(&self) -> bool {
        let classes = || self.objects.iter().any(|object| &*object.kind == "GatewayClass");
        self.layout
            || !self.gateways.is_empty()
            || !self.policies.is_empty()
            || !self.sets.is_empty()
            || !self.routes.is_empty()
            || !self.route_hosts.is_empty()
            || classes()
    }

    /// Whether nothing has to be computed again.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Joins what another change made dirty: changes that arrive while one is in work go together.
    pub fn merge(&mut self, other: Self) {
        self.all |= other.all;
        self.hosts.extend(other.hosts);
        self.backends.extend(other.backends);
        self.objects.extend(other.objects);
        self.certificates.extend(other.certificates);
        self.layout |= other.layout;
        self.gateways.extend(other.gateways);
        self.routes.extend(other.routes);
        self.policies.extend(other.policies);
        self.sets.extend(other.sets);
        self.route_hosts.extend(other.route_hosts);
    }
}

//! What has to be computed again: written by the World as it applies changes, read by `translate`.

use std::collections::BTreeSet;

use rust_ingress_model::{BackendKey, Fingerprint, HostPattern, ObjectRef};

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
    }
}

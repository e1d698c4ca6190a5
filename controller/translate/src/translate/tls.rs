//! Certificates: which answers which name. Oldest Ingress first; a Secret that can't be used leaves its hosts to the default.

use std::collections::{BTreeMap, BTreeSet};

use rust_ingress_model::{Certificate, Fault, Fingerprint, HostPattern, Part, Reason, TlsSet};

use super::{INGRESS, Work, share};
use crate::certificate;
use crate::dirty::Dirty;
use crate::faults::Faults;
use crate::ingress::Ingress;
use crate::ingress::tls::TlsEntry;

/// The certificate of each host that was looked at; `None`: the default one.
type Claims = BTreeMap<HostPattern, Option<Fingerprint>>;

impl Work<'_> {
    /// The certificate of a host, and the faults of younger Ingresses that name another Secret for it.
    pub(super) fn certificate_claim(&self, host: &HostPattern, ours: &[&Ingress]) -> (Option<Fingerprint>, Vec<Fault>) {
        let mut first: Option<(&Ingress, String)> = None;
        let mut claim = None;
        let mut conflicts = Vec::new();
        for ingress in ours {
            for (entry, field) in ingress.tls.of_host(host) {
                let Some(secret) = &entry.secret else { continue };
                let secret_name = format!("{}/{secret}", ingress.reference.namespace);
                match &first {
                    None => {
                        claim =
                            self.secret(ingress, entry).and_then(|parsed| parsed.as_ref().ok()).map(|usable| usable.fingerprint);
                        first = Some((ingress, secret_name));
                    }
                    Some((_, other)) if *other == secret_name => {}
                    Some((older, other)) => {
                        let mut faults = Faults::of(ingress.reference.clone());
                        let message = format!("{} has Secret {other} for host {host} already: that one counts", older.reference);
                        faults.error(
                            field,
                            Reason::Conflict,
                            message,
                            "name the host in one Ingress' tls, or the same Secret in both",
                        );
                        conflicts.extend(faults.into_list());
                    }
                }
            }
        }
        (claim, conflicts)
    }

    fn secret(&self, ingress: &Ingress, entry: &TlsEntry) -> Option<&certificate::Parsed> {
        self.world.secrets.get(&(ingress.reference.namespace.clone(), entry.secret.clone()?))
    }

    /// The TLS set with the claims of dirty hosts, and what is public of the certificates in it.
    pub(super) fn certificates(&mut self, claims: Claims, dirty: &Dirty) {
        self.snapshot.route_sets.entry(INGRESS.into()).or_default();
        let old = self.snapshot.tls_sets.get(INGRESS).cloned();
        let mut set = old.as_deref().cloned().unwrap_or_default();
        let default = self.settings.default_certificate.as_ref().map(|default| default.fingerprint);
        if old.is_none() {
            set.default = default;
        }
        for (host, claim) in claims {
            match (host, claim) {
                (HostPattern::Any, claim) => set.default = claim.or(default),
                (host, Some(fingerprint)) => drop(set.by_host.insert(host, fingerprint)),
                (host, None) => drop(set.by_host.remove(&host)),
            }
        }
        let unchanged = old.as_deref() == Some(&set);
        if unchanged && dirty.certificates.is_empty() && !dirty.layout {
            return;
        }
        self.snapshot.tls_sets.insert(INGRESS.into(), share::<TlsSet>(self.previous.tls_sets.get(INGRESS), set));
        let sets = self.snapshot.tls_sets.values();
        let mut used: BTreeSet<Fingerprint> = sets.flat_map(|set| set.by_host.values().copied().chain(set.default)).collect();
        // Those that Gateways show endpoints.
        let ours = self.world.gateways.gateways.keys().filter(|key| self.serves(key));
        used.extend(ours.filter_map(|key| self.world.client_certificate(key)?.ok()));
        let certificates = used.into_iter().filter_map(|fingerprint| Some((fingerprint, self.certificate(&fingerprint)?)));
        self.snapshot.certificates = certificates.collect();
    }

    fn certificate(&self, fingerprint: &Fingerprint) -> Option<Part<Certificate>> {
        let new = match (self.world.certificate(fingerprint), &self.settings.default_certificate) {
            (Some(usable), _) => usable.certificate.clone(),
            (None, default) => Part::new(default.as_ref()?.certificate.clone()),
        };
        let previous = self.previous.certificates.get(fingerprint);
        Some(previous.filter(|previous| **previous == new).cloned().unwrap_or(new))
    }

    /// What is wrong with the Secrets that an Ingress of ours names.
    pub(super) fn secret_faults(&self, ingress: &Ingress) -> Vec<Fault> {
        let mut faults = Faults::of(ingress.reference.clone());
        for entry in &ingress.tls.entries {
            let Some(name) = &entry.secret else { continue };
            let secret = format!("Secret {}/{name}", ingress.reference.namespace);
            let field = format!("{}.secretName", entry.field);
            let served = "the default certificate is served";
            match self.secret(ingress, entry) {
                None => {
                    let advice = "create it in the Ingress' namespace, or correct the name";
                    faults.error(field, Reason::SecretNotFound, format!("{secret} isn't there: {served}"), advice);
                }
                Some(Err(certificate::Unusable { why, advice })) => {
                    faults.error(field, Reason::InvalidCertificate, format!("{secret} {why}: {served}"), advice.clone());
                }
                Some(Ok(usable)) => {
                    for (host, field) in entry.hosts.iter().filter(|(host, _)| !usable.covers(host)) {
                        let names = match usable.certificate.dns_names.join(", ") {
                            names if names.is_empty() => "no DNS name".to_owned(),
                            names => names,
                        };
                        let message = format!("the certificate of {secret} doesn't cover {host}; it is for {names}");
                        faults.warning(field.clone(), Reason::CertificateMismatch, message, "use a certificate for this host");
                    }
                }
            }
        }
        faults.into_list()
    }
}

//! Virtual hosts: the rules of all our Ingresses on one host, merged, oldest first.
//!
//! Of two Ingresses with the same path on the same host the older has it; the younger gets a fault. A default backend is a rule
//! `Prefix /` after all others on the Ingress' own hosts, and on `Any`, where it takes what matches no rule.

use std::collections::BTreeMap;

use rust_ingress_model::filter::Redirect;
use rust_ingress_model::route::VirtualHost;
use rust_ingress_model::{
    BackendRef, Fault, Filter, HostPattern, Name, NativeFilter, ObjectRef, PathMatch, Reason, Report, ReportKey, RouteMatch,
    Rule, WeightedBackend,
};

use super::{INGRESS, Work, share};
use crate::dirty::Dirty;
use crate::faults::Faults;
use crate::ingress::{Ingress, Path};
use crate::settings::Settings;

/// The port that redirects to HTTPS leave out.
const HTTPS_PORT: u16 = 443;

impl Work<'_> {
    /// Routes, certificates and conflicts of dirty hosts.
    pub(super) fn hosts(&mut self, dirty: &Dirty) {
        let mut claims = BTreeMap::new();
        for host in &dirty.hosts {
            let ours = self.oldest_first(self.world.index.hosts.get(host));
            let mut merged = Merged::default();
            ours.iter().for_each(|ingress| merged.explicit(host, ingress, self.settings));
            ours.iter().for_each(|ingress| merged.default_backend(host, ingress, self.settings));
            let (claim, conflicts) = self.certificate_claim(host, &ours);
            merged.faults.extend(conflicts);
            claims.insert(host.clone(), claim);
            let Merged { rules, faults, .. } = merged;
            self.virtual_host(host, rules);
            self.report(ReportKey::Host(host.clone()), Report { faults, verdicts: Vec::new() });
        }
        self.certificates(claims, dirty);
    }

    fn virtual_host(&mut self, host: &HostPattern, rules: Vec<Rule>) {
        let set = self.snapshot.route_sets.entry(INGRESS.into()).or_default();
        if rules.is_empty() {
            set.hosts.remove(host);
            return;
        }
        let previous = self.previous.route_sets.get(INGRESS).and_then(|set| set.hosts.get(host));
        set.hosts.insert(host.clone(), share(previous, VirtualHost { host: host.clone(), rules }));
    }
}

/// The rules of one host as they come together.
#[derive(Default)]
struct Merged {
    rules: Vec<Rule>,
    taken: BTreeMap<(u8, Name), ObjectRef>,
    faults: Vec<Fault>,
}

impl Merged {
    fn explicit(&mut self, host: &HostPattern, ingress: &Ingress, settings: &Settings) {
        let mut faults = Faults::of(ingress.reference.clone());
        for Path { field, path, backend } in ingress.paths.get(host).into_iter().flatten() {
            let place = place(path);
            match self.taken.get(&place) {
                Some(older) => {
                    let owner =
                        if *older == ingress.reference { "an earlier path of this Ingress".into() } else { older.to_string() };
                    faults.error(
                        format!("{field}.path"),
                        Reason::Conflict,
                        format!("{owner} has {} on host {host} already: this path isn't served", describe(path)),
                        "remove one of them, or give them different hosts or paths",
                    );
                }
                None => {
                    self.taken.insert(place, ingress.reference.clone());
                    self.rules.push(rule(host, ingress, field.clone(), path.clone(), backend.clone(), settings));
                }
            }
        }
        self.faults.extend(faults.into_list());
    }

    /// A default backend that another Ingress' `Prefix /` or an older default backend leaves nothing to is left out. Two on one
    /// host are a conflict, unless the younger Ingress has rules of its own and merely reaches `Any` as well.
    fn default_backend(&mut self, host: &HostPattern, ingress: &Ingress, settings: &Settings) {
        let Some(default) = ingress.default.as_ref().filter(|default| default.hosts.contains(host)) else { return };
        let path = PathMatch::Prefix("/".into());
        let place = place(&path);
        let Some(older) = self.taken.get(&place) else {
            self.taken.insert(place, ingress.reference.clone());
            let backend = default.backend.clone();
            return self.rules.push(rule(host, ingress, "spec.defaultBackend".into(), path, backend, settings));
        };
        let merely_reaches = *host == HostPattern::Any && default.hosts.len() > 1;
        if *older != ingress.reference && !merely_reaches {
            let mut faults = Faults::of(ingress.reference.clone());
            faults.error(
                "spec.defaultBackend",
                Reason::Conflict,
                format!("{older} takes all other paths on host {host} already: this default backend isn't served there"),
                "remove one of them",
            );
            self.faults.extend(faults.into_list());
        }
    }
}

/// What two paths have in common that can't both be served.
fn place(path: &PathMatch) -> (u8, Name) {
    match path {
        PathMatch::Exact(path) => (0, path.clone()),
        PathMatch::Regex(pattern) => (1, pattern.clone()),
        PathMatch::Prefix(prefix) => (2, prefix.clone()),
        PathMatch::LastElement(name) => (3, name.clone()),
    }
}

fn describe(path: &PathMatch) -> String {
    match path {
        PathMatch::Exact(path) => format!("Exact {path}"),
        PathMatch::Regex(pattern) => format!("the regular expression {pattern}"),
        PathMatch::Prefix(prefix) => format!("Prefix {prefix}"),
        PathMatch::LastElement(name) => format!("the last element {name}"),
    }
}

fn rule(host: &HostPattern, ingress: &Ingress, field: Name, path: PathMatch, backend: BackendRef, settings: &Settings) -> Rule {
    let wishes = &ingress.wishes;
    Rule {
        source: ingress.reference.clone(),
        field,
        matches: vec![RouteMatch::path(path)],
        filters: redirect(host, ingress, settings).into_iter().collect(),
        guards: wishes.guards.clone(),
        backends: vec![WeightedBackend { backend, weight: 1, filters: Vec::new() }],
        timeouts: wishes.timeouts,
        retry: None,
        persistence: None,
        max_body: wishes.max_body,
    }
}

/// The redirect to HTTPS: where it is asked for, or where the host is under `tls` and HTTPS is served at all.
fn redirect(host: &HostPattern, ingress: &Ingress, settings: &Settings) -> Option<Filter> {
    let port = settings.https.first().map(std::net::SocketAddr::port);
    let wanted = ingress.wishes.redirect_https.unwrap_or_else(|| port.is_some() && ingress.tls.covers(host));
    wanted.then(|| {
        Filter::Native(NativeFilter::Redirect(Redirect {
            scheme: Some("https".into()),
            host: None,
            port: port.filter(|port| *port != 0).or(settings.https_port_given).filter(|port| *port != HTTPS_PORT),
            path: None,
            status: 308,
            only_plain: true,
        }))
    })
}

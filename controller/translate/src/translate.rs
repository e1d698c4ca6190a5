//! `translate`: World and settings in, snapshot and status plan out. Pure: called by the driver after each batch of changes.
//!
//! Only dirty parts are computed again; a part that comes out equal keeps the previous allocation, so that whoever reads the
//! snapshot sees by pointer what changed. The outer maps are cloned: about 50 ns an entry.

mod gateway_status;
mod gateways;
mod hosts;
mod listeners;
mod policies;
mod reports;
mod sets;
mod tls;

use std::borrow::Cow;
use std::hash::Hash;

use rust_ingress_model::status::ObjectStatus;
use rust_ingress_model::{BackendKey, ObjectRef, Part, Report, ReportKey, Snapshot, StatusPlan};

use crate::dirty::Dirty;
use crate::ingress::Ingress;
use crate::ingress::class::{Classes, Owner};
use crate::settings::Settings;
use crate::world::{Key, World};
use crate::{backend, faults::Faults};

/// The route set, and the TLS set, that both listeners of Ingress serve.
pub(crate) const INGRESS: &str = "ingress";

/// One translation in work.
struct Work<'a> {
    world: &'a World,
    settings: &'a Settings,
    classes: Classes<'a>,
    previous: &'a Snapshot,
    snapshot: Snapshot,
}

/// Computes what is dirty, and takes the rest from the previous snapshot, which must come from the same World and settings.
/// With [`Dirty::all`] nothing is taken but allocations that come out equal.
pub fn translate(world: &World, settings: &Settings, previous: &Snapshot, dirty: &Dirty) -> (Snapshot, StatusPlan) {
    let (snapshot, dirty) = match dirty.is_all() {
        true => (Snapshot::default(), Cow::Owned(world.everything())),
        false => (previous.clone(), Cow::Borrowed(dirty)),
    };
    let classes = Classes::new(&world.classes, settings);
    let layout = dirty.has_gateways().then(|| world.layout(settings));
    let mut work = Work { world, settings, classes, previous, snapshot };
    work.listeners();
    if let Some(layout) = layout.as_ref().filter(|_| dirty.layout) {
        work.gateway_listeners(layout);
    }
    work.hosts(&dirty);
    if let Some(layout) = &layout {
        work.route_hosts(layout, &dirty);
    }
    dirty.backends.iter().for_each(|key| work.backend(key));
    dirty.objects.iter().for_each(|object| work.object_report(object));
    let mut status = work.status(&dirty);
    if let Some(layout) = &layout {
        work.gateway_reports(layout, &dirty);
        work.policy_reports(&dirty);
        work.set_reports(layout, &dirty);
        work.set_status(layout, &dirty, &mut status);
        work.policy_status(layout, &dirty, &mut status);
        work.gateway_status(layout, &dirty, &mut status);
    }
    status.whole = dirty.is_all();
    (work.snapshot, status)
}

impl Work<'_> {
    fn ours(&self, ingress: &Ingress) -> bool {
        self.classes.owner(&ingress.class) == Owner::Us
    }

    /// Those of some Ingresses that are ours, oldest first.
    fn oldest_first<'w>(&self, keys: impl Iterator<Item = &'w Key>) -> Vec<&Ingress> {
        let all = keys.filter_map(|key| self.world.ingresses.get(key)).map(|ingress| &**ingress);
        let mut ours: Vec<&Ingress> = all.filter(|ingress| self.ours(ingress)).collect();
        ours.sort_by_cached_key(|ingress| ingress.age());
        ours
    }

    fn backend(&mut self, key: &BackendKey) {
        let referring = self.oldest_first(self.world.index.backends.get(key));
        let report_key = ReportKey::Backend(key.clone());
        let routed = self.world.gateways.backends.get(key).any(|route| self.routed(route));
        let shown = key.gateway.as_ref().is_none_or(|gateway| self.serves(gateway));
        if (referring.is_empty() && !routed) || !shown {
            self.snapshot.backends.remove(key);
            return self.report(report_key, Report::default());
        }
        let resolved = backend::resolve(self.world, self.settings, key);
        // Said once, of the backend without a Gateway's certificate.
        let said = if key.gateway.is_none() { resolved.faults } else { Vec::new() };
        let mut report = Report { faults: said, verdicts: Vec::new() };
        if let Some(missing) = resolved.missing {
            for ingress in referring {
                let mut faults = Faults::of(ingress.reference.clone());
                for field in ingress.backends.get(key).into_iter().flatten() {
                    let field = format!("{field}.service.{}", missing.part);
                    faults.error(field, missing.reason, missing.message.clone(), missing.advice.clone());
                }
                report.faults.extend(faults.into_list());
            }
        }
        let part = share(self.previous.backends.get(key), resolved.backend);
        self.snapshot.backends.insert(key.clone(), part);
        self.report(report_key, report);
    }

    /// Whether a route has a Gateway of ours as its parent.
    fn routed(&self, route: &ObjectRef) -> bool {
        let gateways = &self.world.gateways;
        let gateways = gateways.routes.get(route).map(|route| gateways.gateways_of(route)).unwrap_or_default();
        gateways.iter().any(|gateway| self.serves(gateway))
    }

    /// Whether a Gateway is ours.
    fn serves(&self, gateway: &Key) -> bool {
        let gateway = self.world.gateways.gateways.get(gateway);
        gateway.is_some_and(|gateway| self.world.gateway_class_is_ours(&gateway.class, self.settings))
    }

    fn report(&mut self, key: ReportKey, report: Report) {
        if report.is_empty() {
            self.snapshot.reports.remove(&key);
        } else {
            let part = share(self.previous.reports.get(&key), report);
            self.snapshot.reports.insert(key, part);
        }
    }

    /// What to write on the Ingresses and Services that are dirty.
    fn status(&self, dirty: &Dirty) -> StatusPlan {
        let status = |object: &ObjectRef| {
            if &*object.kind == "Service" {
                return self.world.l4.as_ref()?.addresses.status(object);
            }
            let ingress = self.world.ingresses.get(&(object.namespace.clone(), object.name.clone()))?;
            let status = ObjectStatus { generation: ingress.generation, addresses: true, ..ObjectStatus::default() };
            self.ours(ingress).then_some(status)
        };
        let written = dirty.objects.iter().filter(|object| matches!(&*object.kind, "Ingress" | "Service"));
        let planned = written.map(|object| (object.clone(), status(object)));
        StatusPlan { whole: false, objects: planned.filter(|(_, status)| !dirty.is_all() || status.is_some()).collect() }
    }
}

/// The previous part where the new value equals it.
fn share<T: Hash>(previous: Option<&Part<T>>, value: T) -> Part<T> {
    let new = Part::new(value);
    match previous {
        Some(previous) if *previous == new => previous.clone(),
        _ => new,
    }
}

//! What is said of GatewayClasses, Gateways and routes: their status, and the faults that a folder's user sees.
//!
//! Reasons are those of Gateway API; all conditions of an object are there each time, so that they go in one write.

use rust_ingress_model::status::{Condition, GatewayStatus, ListenerStatus, ObjectStatus, ParentStatus, StatusAddress};
use rust_ingress_model::{Fault, ObjectRef, Reason, Report, ReportKey, StatusPlan};

use super::Work;
use super::sets::taken;
use crate::dirty::Dirty;
use crate::faults::Faults;
use crate::gateway::layout::{Layout, Placed, State, Why, key_of};
use crate::gateway::listener::Gateway;
use crate::gateway::route::Route;
use crate::gateway::service;
use crate::gateway::{is, isnt};
use crate::settings::Origin;
use crate::world::Key;

/// That clients aren't checked.
const INSECURE: &str = "InsecureFrontendValidationMode";

/// Where a Gateway can be reached, or why nowhere.
pub(super) type Reached = Result<Vec<StatusAddress>, Why>;

impl Work<'_> {
    /// Plans the status of what is dirty.
    pub(super) fn gateway_status(&self, layout: &Layout<'_>, dirty: &Dirty, plan: &mut StatusPlan) {
        let classes = dirty.objects.iter().filter(|object| &*object.kind == "GatewayClass");
        for object in classes {
            let status = self.world.gateways.classes.get(&object.name).and_then(|class| class.status(self.world));
            plan.objects.insert(object.clone(), status);
        }
        let all = layout.gateways.keys().copied().filter(|_| dirty.layout);
        for key in all.chain(&dirty.gateways) {
            let object = ObjectRef::new("Gateway", &key.0, &key.1);
            let status = layout.gateways.get(key).map(|placed| self.of_gateway(layout, key, placed));
            plan.objects.insert(object, status);
        }
        for object in &dirty.routes {
            let route = self.world.gateways.routes.get(object);
            let status = route.map(|route| self.of_route(layout, route)).filter(|status| !status.parents.is_empty());
            plan.objects.insert(object.clone(), status);
        }
        if dirty.is_all() {
            plan.objects.retain(|_, status| status.is_some());
        }
    }

    fn of_gateway(&self, layout: &Layout<'_>, key: &Key, placed: &Placed<'_>) -> ObjectStatus {
        let gateway = placed.gateway;
        let reached = self.reached(key, placed);
        let listeners = self.of_listeners(layout, placed, &gateway.reference);
        let own = placed.listeners.iter().filter(|state| *state.owner == gateway.reference);
        let good = own.filter(|state| state.accepted.is_ok() && state.conflict.is_none()).count();
        let accepted = match (&placed.refused, good) {
            (Some((reason, message)), _) => isnt("Accepted", reason, message),
            (None, 0) if !gateway.listeners.is_empty() => {
                isnt("Accepted", "ListenersNotValid", "none of the listeners can be served; see their conditions")
            }
            (None, good) if good < gateway.listeners.len() => {
                is("Accepted", "ListenersNotValid", "some of the listeners can't be served; see their conditions")
            }
            (None, _) => is("Accepted", "Accepted", "all listeners are accepted"),
        };
        let programmed = match (&reached, accepted.status) {
            (_, false) => isnt("Programmed", "Invalid", accepted.message.clone()),
            (Err((reason, message)), true) => isnt("Programmed", reason, message),
            (Ok(_), true) => is("Programmed", "Programmed", "the listeners take traffic"),
        };
        let service = match self.settings.origin {
            Origin::Files => None,
            Origin::Cluster => service::wanted(placed, self.world.pools_serve_all()),
        };
        let sets = self.world.sets_of(gateway).into_iter().filter(|set| taken(placed, set));
        let attached_sets = u32::try_from(sets.count()).unwrap_or(u32::MAX);
        ObjectStatus {
            generation: gateway.generation,
            conditions: [accepted, programmed, self.references(key)].into_iter().chain(insecure(gateway)).collect(),
            gateway: Some(GatewayStatus { addresses: reached.unwrap_or_default(), listeners, attached_sets, service }),
            ..ObjectStatus::default()
        }
    }

    /// Whether what a Gateway itself refers to is there; its listeners say so for themselves.
    fn references(&self, key: &Key) -> Condition {
        match self.world.client_certificate(key) {
            Some(Err((reason, message))) => isnt("ResolvedRefs", reason, message),
            _ => is("ResolvedRefs", "ResolvedRefs", "everything that the Gateway refers to is there"),
        }
    }

    /// Where a Gateway can be reached: as it is written in a folder; where its Service is in a cluster.
    pub(super) fn reached(&self, key: &Key, placed: &Placed<'_>) -> Reached {
        let asked: Vec<StatusAddress> =
            placed.gateway.ips().map(|ip| StatusAddress { r#type: "IPAddress".into(), value: ip.to_string().into() }).collect();
        match self.settings.origin {
            Origin::Files => Ok(asked),
            Origin::Cluster => {
                let service = self.world.services.get(&(key.0.clone(), service::name(placed.gateway)));
                let there = service.map(|service| service::addresses(service, &placed.parameters)).unwrap_or_default();
                match asked.iter().find(|one| !there.contains(one)) {
                    Some(one) => Err(("AddressNotUsable", format!("{} isn't given to the Gateway's Service", one.value))),
                    None if there.is_empty() => {
                        Err(("AddressNotAssigned", "the Gateway's Service has no address yet; see that it gets one".into()))
                    }
                    None => Ok(there),
                }
            }
        }
    }

    /// What is said of the listeners that are written in one object.
    pub(super) fn of_listeners(&self, layout: &Layout<'_>, placed: &Placed<'_>, owner: &ObjectRef) -> Vec<ListenerStatus> {
        let key = key_of(placed.gateway);
        let reached = self.reached(&key, placed);
        let all = placed.listeners.iter().zip(self.counts(layout, &key, placed));
        let own = all.filter(|(state, _)| state.owner == owner);
        own.map(|(state, count)| of_listener(state, placed, &reached, count)).collect()
    }

    /// How many routes are on each listener.
    fn counts(&self, layout: &Layout<'_>, key: &Key, placed: &Placed<'_>) -> Vec<u32> {
        let mut counts = vec![0; placed.listeners.len()];
        for route in self.world.gateways.attached.get(key).filter_map(|route| self.world.gateways.routes.get(route)) {
            let own = route.parents.iter().filter(|parent| self.world.gateways.gateway_of(route, parent).as_ref() == Some(key));
            let mut places: Vec<usize> =
                own.filter_map(|parent| self.world.attach(layout, route, parent)?.1.ok()).flatten().collect();
            places.sort_unstable();
            places.dedup();
            places.into_iter().filter_map(|place| counts.get_mut(place).map(|count| *count += 1)).for_each(drop);
        }
        counts
    }

    fn of_route(&self, layout: &Layout<'_>, route: &Route) -> ObjectStatus {
        let (_, wrong) = route.resolve(self.world);
        let parents = route.parents.iter().filter_map(|parent| {
            let (_, attached) = self.world.attach(layout, route, parent)?;
            let accepted = match attached {
                Ok(_) => is("Accepted", "Accepted", "the route is on the listeners that it names"),
                Err((reason, message)) => isnt("Accepted", reason, message),
            };
            let resolved = match &wrong {
                None => is("ResolvedRefs", "ResolvedRefs", "everything that the route refers to is there"),
                Some((reason, message)) => isnt("ResolvedRefs", reason, message),
            };
            Some(ParentStatus { parent: parent.clone(), conditions: vec![accepted, resolved] })
        });
        ObjectStatus { generation: route.generation, parents: parents.collect(), ..ObjectStatus::default() }
    }

    /// What is said of Gateways and routes that are dirty.
    pub(super) fn gateway_reports(&mut self, layout: &Layout<'_>, dirty: &Dirty) {
        let all = layout.gateways.keys().copied().filter(|_| dirty.layout);
        for key in all.chain(&dirty.gateways) {
            let faults = self.gateway_faults(layout, key);
            let object = ObjectRef::new("Gateway", &key.0, &key.1);
            self.report(ReportKey::Object(object), Report { faults, verdicts: Vec::new() });
        }
        for object in &dirty.routes {
            let route = self.world.gateways.routes.get(object);
            let faults = route.map(|route| self.route_faults(layout, route)).unwrap_or_default();
            self.report(ReportKey::Object(object.clone()), Report { faults, verdicts: Vec::new() });
        }
    }

    /// What a folder's user is told of a Gateway.
    fn gateway_faults(&self, layout: &Layout<'_>, key: &Key) -> Vec<Fault> {
        let Some(placed) = layout.gateways.get(key) else { return Vec::new() };
        let mut faults = Faults::of(placed.gateway.reference.clone());
        if let Some(why) = &placed.refused {
            told(&mut faults, "spec".into(), why);
        }
        if let Some(Err(why)) = self.world.client_certificate(key) {
            told(&mut faults, "spec.tls.backend.clientCertificateRef".into(), &why);
        }
        let own = placed.listeners.iter().filter(|state| *state.owner == placed.gateway.reference);
        for (index, state) in own.enumerate() {
            let wrong = state.accepted.as_ref().err().into_iter().chain(&state.conflict).chain(&state.unresolved);
            wrong.for_each(|why| told(&mut faults, format!("spec.listeners[{index}]"), why));
        }
        [placed.gateway.faults.clone(), faults.into_list()].concat()
    }

    /// What a folder's user is told of a route.
    fn route_faults(&self, layout: &Layout<'_>, route: &Route) -> Vec<Fault> {
        let mut faults = Faults::of(route.reference.clone());
        let mut ours = false;
        for (index, parent) in route.parents.iter().enumerate() {
            let Some((_, attached)) = self.world.attach(layout, route, parent) else { continue };
            ours = true;
            if let Err(why) = attached {
                told(&mut faults, format!("spec.parentRefs[{index}]"), &why);
            }
        }
        if ours && let (_, Some(why)) = route.resolve(self.world) {
            told(&mut faults, "spec.rules".into(), &why);
        }
        if !ours && self.settings.origin == Origin::Files {
            let why =
                ("NoMatchingParent", "no Gateway that is served here is its parent; write one, or correct parentRefs".to_owned());
            told(&mut faults, "spec.parentRefs".into(), &why);
            return faults.into_list();
        }
        if ours { [route.faults.clone(), faults.into_list()].concat() } else { Vec::new() }
    }
}

/// Said only while it is so.
fn insecure(gateway: &Gateway) -> Option<Condition> {
    let insecure = gateway.validations().any(|validation| validation.insecure_fallback);
    let message = "AllowInsecureFallback: clients are served whatever certificate they show, and without one";
    insecure.then(|| is(INSECURE, "ConfigurationChanged", message))
}

fn of_listener(state: &State<'_>, placed: &Placed<'_>, reached: &Reached, attached_routes: u32) -> ListenerStatus {
    let accepted = match (&state.accepted, &state.conflict) {
        (Err((reason, message)), _) | (Ok(()), Some((reason, message))) => isnt("Accepted", reason, message),
        (Ok(()), None) => is("Accepted", "Accepted", "the listener is accepted"),
    };
    let conflicted = match &state.conflict {
        Some((reason, message)) => is("Conflicted", reason, message),
        None => isnt("Conflicted", "NoConflicts", "no other listener is in its way"),
    };
    let resolved = match &state.unresolved {
        Some((reason, message)) => isnt("ResolvedRefs", reason, message),
        None => is("ResolvedRefs", "ResolvedRefs", "everything that the listener refers to is there"),
    };
    let programmed = match (&state.conflict, state.served() && placed.refused.is_none(), reached) {
        (Some((reason, message)), _, _) => isnt("Programmed", reason, message),
        (None, false, _) => isnt("Programmed", "Invalid", "the listener can't be served; see its other conditions"),
        (None, true, Err((_, message))) => isnt("Programmed", "Pending", message),
        (None, true, Ok(_)) => is("Programmed", "Programmed", "the listener takes traffic"),
    };
    ListenerStatus {
        name: state.listener.name.clone(),
        kinds: state.kinds.clone(),
        attached_routes,
        conditions: vec![accepted, conflicted, programmed, resolved],
    }
}

/// A reason of a condition as a fault: the same sentence.
pub(super) fn told(faults: &mut Faults, field: String, (reason, message): &Why) {
    let reason = match *reason {
        "BackendNotFound" => Reason::ServiceNotFound,
        "InvalidKind" => Reason::UnsupportedBackend,
        "Conflicted" => Reason::Conflict,
        "InvalidCACertificateRef" | "InvalidCACertificateKind" | "NoValidCACertificate" | "InvalidClientCertificateRef" => {
            Reason::InvalidCertificate
        }
        "RefNotPermitted" => Reason::RefNotPermitted,
        "InvalidCertificateRef" => Reason::InvalidCertificate,
        "PortUnavailable" => Reason::ListenerUnavailable,
        "HostnameConflict" | "ProtocolConflict" => Reason::Conflict,
        "NoMatchingParent" | "NotAllowedByListeners" | "NoMatchingListenerHostname" => Reason::NotAttached,
        _ => Reason::InvalidValue,
    };
    let (what, advice) = message.rsplit_once("; ").unwrap_or((message, "correct it"));
    faults.error(field, reason, what, advice);
}

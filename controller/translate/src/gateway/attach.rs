//! Which listeners a route attaches to, by one of its parentRefs; and what its status says of that.

use std::collections::{BTreeMap, BTreeSet};

use rust_ingress_model::ObjectRef;
use rust_ingress_model::status::ParentRef;

use super::layout::{Layout, Placed, State, Why, key_of};
use super::route::Route;
use crate::world::World;

/// The Gateway that a parentRef means and the places of its listeners that take the route, or why none does.
pub(crate) type Attached<'l, 'w> = (&'l Placed<'w>, Result<Vec<usize>, Why>);

impl World {
    /// Attaches a route by one of its parentRefs. `None`: that is no Gateway of ours.
    pub(crate) fn attach<'l, 'w>(&self, layout: &'l Layout<'w>, route: &Route, parent: &ParentRef) -> Option<Attached<'l, 'w>> {
        let (placed, attached) = self.attach_alone(layout, route, parent)?;
        let Ok(places) = attached else { return Some((placed, attached)) };
        let outdone = placed.outdone.get_or_init(|| self.outdone(layout, placed));
        let by = |place: usize| outdone.get(&(place, route.reference.clone()));
        let (lost, left): (Vec<usize>, Vec<usize>) = places.into_iter().partition(|place| by(*place).is_some());
        let why = |older: &ObjectRef| {
            let message =
                format!("{older} is older and has one of its hostnames on the listener; give one of them other hostnames");
            ("HostnameConflict", message)
        };
        let attached = match lost.first().and_then(|place| by(*place)) {
            Some(older) if left.is_empty() => Err(why(older)),
            _ => Ok(left),
        };
        Some((placed, attached))
    }

    /// Of an HTTPRoute and a GRPCRoute that have a hostname in common a listener takes only the older (Gateway API, GRPCRoute
    /// `hostnames`): the others, each with the one that outdoes it.
    fn outdone(&self, layout: &Layout<'_>, placed: &Placed<'_>) -> BTreeMap<(usize, ObjectRef), ObjectRef> {
        let key = key_of(placed.gateway);
        let attached = || self.gateways.attached.get(&key).filter(|route| matches!(&*route.kind, "GRPCRoute" | "HTTPRoute"));
        let mut outdone = BTreeMap::new();
        let first = attached().next().map(|route| &route.kind);
        if attached().all(|route| Some(&route.kind) == first) {
            return outdone;
        }
        let mut routes: Vec<&Route> = attached().filter_map(|route| self.gateways.routes.get(route)).map(|one| &**one).collect();
        routes.sort_by_cached_key(|route| route.age());
        let mut taken: Vec<Vec<&Route>> = placed.listeners.iter().map(|_| Vec::new()).collect();
        for route in routes {
            let own = route.parents.iter().filter(|parent| self.gateways.gateway_of(route, parent).as_ref() == Some(&key));
            let places = own.filter_map(|parent| self.attach_alone(layout, route, parent)?.1.ok()).flatten();
            for place in places.collect::<BTreeSet<usize>>() {
                let Some((older, state)) = taken.get_mut(place).zip(placed.listeners.get(place)) else { continue };
                match older.iter().find(|other| other.rivals(route, &state.listener.hostname)) {
                    Some(other) => drop(outdone.insert((place, route.reference.clone()), other.reference.clone())),
                    None => older.push(route),
                }
            }
        }
        outdone
    }

    /// The same, whatever else is attached.
    fn attach_alone<'l, 'w>(&self, layout: &'l Layout<'w>, route: &Route, parent: &ParentRef) -> Option<Attached<'l, 'w>> {
        let placed = layout.gateways.get(&self.gateways.gateway_of(route, parent)?)?;
        let namespace = parent.namespace.as_ref().unwrap_or(&route.reference.namespace);
        let named = |state: &State<'_>| {
            let owner = state.owner;
            let owned = owner.kind == parent.kind && owner.name == parent.name && owner.namespace == *namespace;
            let section = parent.section_name.as_ref().is_none_or(|name| *name == state.listener.name);
            owned && section && parent.port.is_none_or(|port| port == state.listener.port)
        };
        let all = || placed.listeners.iter().enumerate();
        let named: Vec<_> = all().filter(|(_, state)| named(state)).collect();
        let allowed: Vec<_> = named.iter().filter(|(_, state)| self.allows(state, route)).collect();
        let matching: Vec<usize> = (allowed.iter())
            .filter(|(_, state)| route.hostnames.iter().any(|host| host.meets(&state.listener.hostname)))
            .map(|(place, _)| *place)
            .collect();
        let why = |reason, message: &str| Err((reason, message.to_owned()));
        let attached = match (named.is_empty(), allowed.is_empty(), matching.is_empty()) {
            (true, _, _) => why("NoMatchingParent", "the parent has no listener of this sectionName and port"),
            (_, true, _) => {
                why("NotAllowedByListeners", "the listener's allowedRoutes have neither this namespace nor this kind")
            }
            (_, _, true) => why("NoMatchingListenerHostname", "no hostname of the route falls under a hostname of the listeners"),
            _ => Ok(matching),
        };
        Some((placed, attached))
    }

    /// Whether a listener takes routes of this kind from this namespace.
    fn allows(&self, state: &State<'_>, route: &Route) -> bool {
        let from = self.is_from(&state.listener.namespaces, &state.owner.namespace, &route.reference.namespace);
        from && state.kinds.contains(&route.reference.kind)
    }
}

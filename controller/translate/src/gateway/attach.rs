//! Which listeners an HTTPRoute attaches to, by one of its parentRefs; and what its status says of that.

use std::collections::BTreeMap;

use rust_ingress_model::status::ParentRef;

use super::layout::{Layout, Placed, State, Why};
use super::listener::Namespaces;
use super::route::Route;
use super::world::NAMESPACE_NAME;
use crate::world::World;

/// The Gateway that a parentRef means and the places of its listeners that take the route, or why none does.
pub(crate) type Attached<'l, 'w> = (&'l Placed<'w>, Result<Vec<usize>, Why>);

impl World {
    /// Attaches a route by one of its parentRefs. `None`: that is no Gateway of ours.
    pub(crate) fn attach<'l, 'w>(&self, layout: &'l Layout<'w>, route: &Route, parent: &ParentRef) -> Option<Attached<'l, 'w>> {
        let placed = layout.gateways.get(&route.gateway(parent)?)?;
        let named = |state: &State<'_>| {
            let section = parent.section_name.as_ref().is_none_or(|name| *name == state.listener.name);
            section && parent.port.is_none_or(|port| port == state.listener.port)
        };
        let all = || placed.listeners.iter().enumerate();
        let named: Vec<_> = all().filter(|(_, state)| named(state)).collect();
        let allowed: Vec<_> = named.iter().filter(|(_, state)| self.allows(placed, state, route)).collect();
        let matching: Vec<usize> = (allowed.iter())
            .filter(|(_, state)| route.hostnames.iter().any(|host| host.meets(&state.listener.hostname)))
            .map(|(place, _)| *place)
            .collect();
        let why = |reason, message: &str| Err((reason, message.to_owned()));
        let attached = match (named.is_empty(), allowed.is_empty(), matching.is_empty()) {
            (true, _, _) => why("NoMatchingParent", "the Gateway has no listener of this sectionName and port"),
            (_, true, _) => {
                why("NotAllowedByListeners", "the listener's allowedRoutes have neither this namespace nor this kind")
            }
            (_, _, true) => why("NoMatchingListenerHostname", "no hostname of the route falls under a hostname of the listeners"),
            _ => Ok(matching),
        };
        Some((placed, attached))
    }

    /// Whether a listener takes routes of this kind from this namespace.
    fn allows(&self, placed: &Placed<'_>, state: &State<'_>, route: &Route) -> bool {
        let namespace = &route.reference.namespace;
        let from = match &state.listener.namespaces {
            Namespaces::All => true,
            Namespaces::Same => *namespace == placed.gateway.reference.namespace,
            Namespaces::None => false,
            Namespaces::Selector(selector) => {
                // In a folder nobody has to write Namespaces.
                let unwritten = || BTreeMap::from([(NAMESPACE_NAME.to_owned(), namespace.to_string())]);
                selector.takes(&self.gateways.namespaces.get(namespace).cloned().unwrap_or_else(unwritten))
            }
        };
        from && state.kinds.contains(&route.reference.kind)
    }
}

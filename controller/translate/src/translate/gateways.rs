//! Gateways: their listeners and certificates, and the virtual hosts of the routes that attach to them.
//!
//! All listeners of a Gateway on one port are bound once; its sections tell them apart by the request's host. Each section has a
//! route set of its own, by the host names as the routes have them: of two routes on one listener the one whose own hostname is
//! more specific wins (Gateway API v1.7, GatewayRouteHostnameIntersectionPrecedence).

use std::collections::{BTreeMap, BTreeSet};

use rust_ingress_model::route::VirtualHost;
use rust_ingress_model::{
    BackendRef, Filter, HostPattern, Listener, ListenerAddress, ListenerName, Name, NativeFilter, ObjectRef, Parent, Protocol,
    RouteSetName, Rule, Section, TlsSet,
};

use super::{Work, share};
use crate::dirty::Dirty;
use crate::gateway::layout::{Layout, Placed, State};
use crate::gateway::route::Route;
use crate::gateway::set;
use crate::world::{Key, World};

/// Begins the names of listeners, route sets and TLS sets of Gateways.
const PREFIX: &str = "gateway/";

/// A route, looked up.
struct Ready {
    rules: Vec<Rule>,
    /// The listeners that it attaches to: Gateway, and place in it.
    places: BTreeSet<(Key, usize)>,
}

impl Work<'_> {
    /// Listeners, sections and certificates of all Gateways.
    pub(super) fn gateway_listeners(&mut self, layout: &Layout<'_>) {
        let before: Vec<ListenerName> = self.snapshot.listeners.keys().filter(|name| name.starts_with(PREFIX)).cloned().collect();
        before.iter().for_each(|name| drop(self.snapshot.listeners.remove(name)));
        let before: Vec<Name> = self.snapshot.tls_sets.keys().filter(|name| name.starts_with(PREFIX)).cloned().collect();
        before.iter().for_each(|name| drop(self.snapshot.tls_sets.remove(name)));
        let sets: BTreeSet<RouteSetName> =
            layout.gateways.iter().flat_map(|(key, placed)| placed.listeners.iter().map(|state| route_set(key, state))).collect();
        self.snapshot.route_sets.retain(|name, _| !name.starts_with(PREFIX) || sets.contains(name));
        for set in sets {
            self.snapshot.route_sets.entry(set).or_default();
        }
        for (key, placed) in &layout.gateways {
            let ports: BTreeSet<u16> =
                placed.listeners.iter().filter(|state| state.served()).map(|state| state.listener.port).collect();
            ports.into_iter().for_each(|port| self.gateway_port(key, placed, port));
        }
    }

    /// One port of a Gateway; its listeners there all have one protocol.
    fn gateway_port(&mut self, key: &Key, placed: &Placed<'_>, port: u16) {
        let mut states: Vec<&State<'_>> =
            placed.listeners.iter().filter(|state| state.served() && state.listener.port == port).collect();
        states.sort_by(|one, other| one.listener.hostname.cmp(&other.listener.hostname));
        let https = states.first().is_some_and(|state| state.https());
        let name = format!("{PREFIX}{}/{}/{port}", key.0, key.1);
        let sections = states.iter().map(|state| Section {
            name: state.listener.name.clone(),
            hostname: state.listener.hostname.clone(),
            routes: route_set(key, state),
        });
        let bound = placed.ports.get(&port).copied();
        let listener = |address: ListenerAddress| Listener {
            protocol: if https { Protocol::Https } else { Protocol::Http },
            parent: Parent::Gateway { object: placed.gateway.reference.clone() },
            public_port: bound.map(|_| port),
            sections: sections.clone().collect(),
            tls: https.then(|| name.as_str().into()),
            proxy_protocol: placed.parameters.proxy_protocol.unwrap_or_default(),
            ..Listener::http(address, bound.unwrap_or(port), name.as_str().into())
        };
        for (index, address) in placed.binds.iter().enumerate() {
            let name: ListenerName = if index == 0 { name.as_str().into() } else { format!("{name}-{index}").into() };
            let part = share(self.previous.listeners.get(&name), listener(*address));
            self.snapshot.listeners.insert(name, part);
        }
        if https && !placed.binds.is_empty() {
            let part = share(self.previous.tls_sets.get(name.as_str()), tls_set(self.world, &states));
            self.snapshot.tls_sets.insert(name.into(), part);
        }
    }

    /// The virtual hosts of Gateways that are dirty.
    pub(super) fn route_hosts(&mut self, layout: &Layout<'_>, dirty: &Dirty) {
        let world = self.world;
        let mut ready: BTreeMap<&ObjectRef, Ready> = BTreeMap::new();
        for (key, host) in &dirty.route_hosts {
            let Some(placed) = layout.gateways.get(key) else { continue };
            let place = (key.clone(), host.clone());
            let all = world.gateways.hosts.get(&place);
            let mut routes: Vec<(&ObjectRef, &Route)> =
                all.filter_map(|route| Some((route, &**world.gateways.routes.get(route)?))).collect();
            routes.sort_by_cached_key(|(_, route)| route.age());
            for (route, parsed) in &routes {
                ready.entry(route).or_insert_with(|| look_up(world, layout, parsed));
            }
            for (place, state) in placed.listeners.iter().enumerate() {
                let takes = host.meets(&state.listener.hostname);
                let on = |route: &&Ready| takes && route.places.contains(&(key.clone(), place));
                let rules =
                    routes.iter().filter_map(|(route, _)| ready.get(route)).filter(on).flat_map(|route| route.rules.clone());
                let mut rules: Vec<Rule> = rules.collect();
                rules.iter_mut().for_each(|rule| placed.parameters.complete(rule));
                if placed.gateway.client_certificate.is_some() {
                    rules.iter_mut().for_each(|rule| shown_by(rule, key));
                }
                self.route_host(route_set(key, state), host, rules);
            }
        }
    }

    fn route_host(&mut self, name: RouteSetName, host: &HostPattern, rules: Vec<Rule>) {
        let previous = self.previous.route_sets.get(&name).and_then(|set| set.hosts.get(host));
        let set = self.snapshot.route_sets.entry(name).or_default();
        if rules.is_empty() {
            set.hosts.remove(host);
        } else {
            set.hosts.insert(host.clone(), share(previous, VirtualHost { host: host.clone(), rules }));
        }
    }
}

/// Makes a rule send by backends to which a Gateway shows its certificate.
fn shown_by(rule: &mut Rule, gateway: &Key) {
    let show = |backend: &mut BackendRef| {
        if let BackendRef::Service(key) = backend {
            key.gateway = Some(gateway.clone());
        }
    };
    let mirrored = |filter: &mut Filter| {
        if let Filter::Native(NativeFilter::Mirror(mirror)) = filter {
            show(&mut mirror.backend);
        }
    };
    rule.filters.iter_mut().for_each(mirrored);
    for backend in &mut rule.backends {
        show(&mut backend.backend);
        backend.filters.iter_mut().for_each(mirrored);
    }
}

/// The route set of one listener of a Gateway.
fn route_set((namespace, name): &Key, state: &State<'_>) -> RouteSetName {
    let (listener, owner) = (&state.listener.name, state.owner);
    match &*owner.kind {
        set::KIND => format!("{PREFIX}{namespace}/{name}/{listener}@{}/{}", owner.namespace, owner.name).into(),
        _ => format!("{PREFIX}{namespace}/{name}/{listener}").into(),
    }
}

fn look_up(world: &World, layout: &Layout<'_>, route: &Route) -> Ready {
    let mut places = BTreeSet::new();
    for parent in &route.parents {
        if let (Some((_, Ok(attached))), Some(gateway)) =
            (world.attach(layout, route, parent), world.gateways.gateway_of(route, parent))
        {
            places.extend(attached.into_iter().map(|place| (gateway.clone(), place)));
        }
    }
    Ready { rules: route.resolve(world).0, places }
}

/// The first certificate of a listener answers for its hostname; further ones for their own names below it.
fn tls_set(world: &World, states: &[&State<'_>]) -> TlsSet {
    // All listeners of a port have it alike.
    let clients = states.first().and_then(|state| state.clients.clone());
    let mut set = TlsSet { clients, ..TlsSet::default() };
    for state in states {
        let mut certificates = state.certificates.iter();
        match (&state.listener.hostname, certificates.next()) {
            (HostPattern::Any, first) => set.default = first.copied(),
            (host, Some(first)) => drop(set.by_host.insert(host.clone(), *first)),
            (_, None) => {}
        }
        for fingerprint in certificates {
            let names = world.certificate(fingerprint).into_iter().flat_map(|usable| &usable.certificate.dns_names);
            let names = names.filter_map(|name| name.to_ascii_lowercase().parse::<HostPattern>().ok());
            for name in names.filter(|name| name.meets(&state.listener.hostname)) {
                set.by_host.entry(name).or_insert(*fingerprint);
            }
        }
    }
    set
}

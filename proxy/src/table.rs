//! The table: a snapshot made ready for requests. Immutable; one is live at a time, and a request keeps the one it began with.
//!
//! `Proxy::publish` builds it beside the one before, sharing what didn't change: host indexes, certificates, backends.
//! Workers read it through one `ArcSwap`.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ahash::{AHashMap, AHashSet};
use rust_ingress_model::precedence::Found;
use rust_ingress_model::{
    Digest, HostPattern, KeyStore, Listener, ListenerAddress, ListenerName, Name, Parent, Part, Protocol, RequestHead,
    RouteIndex, RouteSetName, Snapshot,
};

use crate::fault::{Kind, RequestFault};
use crate::server::tls::{Certificates, TlsHost};
use crate::upstream::Upstreams;

/// A snapshot made ready for requests.
pub struct Table {
    /// What it was made of.
    pub snapshot: Arc<Snapshot>,
    /// The snapshot's digest.
    pub digest: Digest,
    /// Where traffic comes in.
    pub listeners: AHashMap<ListenerName, ListenerEntry>,
    /// The virtual hosts of each route set.
    pub routes: AHashMap<RouteSetName, Arc<RouteIndex>>,
    /// What each TLS set presents.
    pub tls: AHashMap<Name, Arc<TlsHost>>,
    /// Certificates with their keys.
    pub certificates: Certificates,
    /// Backends.
    pub upstreams: Arc<Upstreams>,
    /// Addresses that belong to a Gateway each: listeners on every address leave them alone.
    pub gateway_addresses: AHashSet<IpAddr>,
    /// Where the kernel hands connections over, by where they were to go.
    pub redirects: AHashMap<SocketAddr, ListenerName>,
}

/// A listener and what it serves.
pub struct ListenerEntry {
    /// What the snapshot says of it.
    pub listener: Part<Listener>,
    /// Its virtual hosts, for hosts that no section takes.
    pub routes: Arc<RouteIndex>,
    /// Its sections, as the snapshot has them.
    pub sections: Vec<(HostPattern, Arc<RouteIndex>)>,
    /// Its certificates; `None` on listeners without TLS.
    pub tls: Option<Arc<TlsHost>>,
}

impl ListenerEntry {
    /// The address to bind, where this version of the proxy serves the listener's protocol.
    pub fn address(&self) -> Option<SocketAddr> {
        bind_address(&self.listener, self.tls.is_some())
    }

    /// The place, among the sections, of the one that takes a host.
    fn section(&self, host: &str) -> Option<usize> {
        self.sections.iter().position(|(pattern, _)| pattern.matches(host))
    }

    /// The rule for a request; `server_name` is what the client asked for in its TLS handshake.
    ///
    /// # Errors
    /// 421: the request is for another section than the connection, whose certificate and settings may be others (RFC 9110
    /// §15.5.20; Gateway API, `GatewayHTTPSListenerDetectMisdirectedRequests`).
    pub fn find<H: RequestHead>(&self, head: &H, server_name: Option<&str>) -> Result<Option<Found<'_>>, RequestFault> {
        if self.sections.is_empty() {
            return Ok(self.routes.find(head));
        }
        let section = self.section(head.host());
        let misdirected = section.is_some() && server_name.is_some_and(|name| self.section(name) != section);
        if misdirected {
            let message = "the connection was made for another host than the request names; connect again for this host";
            return Err(RequestFault::new(Kind::Misdirected, message));
        }
        let routes = section.and_then(|section| self.sections.get(section)).map_or(&self.routes, |(_, routes)| routes);
        Ok(routes.find_through(head))
    }
}

/// The address to bind for a listener, where this version of the proxy serves its protocol. `tls`: whether it has a TLS set.
pub fn bind_address(listener: &Listener, tls: bool) -> Option<SocketAddr> {
    match listener.protocol {
        Protocol::Http => Some(listener.socket_addr()),
        Protocol::Https => tls.then(|| listener.socket_addr()),
        Protocol::Tls | Protocol::Tcp | Protocol::Udp => None,
    }
}

/// Why a listener without such an address isn't opened.
pub fn not_served() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "the listener's protocol isn't served, or it has no usable TLS")
}

impl Table {
    /// The table before the first publish: it serves nothing.
    pub fn empty() -> Self {
        let snapshot = Arc::new(Snapshot::default());
        Self {
            digest: Digest::default(),
            listeners: AHashMap::new(),
            routes: AHashMap::new(),
            tls: AHashMap::new(),
            certificates: Certificates::default(),
            redirects: AHashMap::new(),
            upstreams: Arc::new(Upstreams::new(&snapshot, &KeyStore::default(), None)),
            gateway_addresses: AHashSet::new(),
            snapshot,
        }
    }

    /// Makes a snapshot ready. Costs what differs from `previous`, and copies of its hash maps where something does.
    pub fn new(snapshot: Arc<Snapshot>, keys: &KeyStore, previous: &Self) -> Self {
        let routes: AHashMap<RouteSetName, Arc<RouteIndex>> = snapshot
            .route_sets
            .iter()
            .map(|(name, set)| {
                let kept = previous.snapshot.route_sets.get(name).filter(|kept| *kept == set);
                let before = previous.routes.get(name);
                let index = match (kept, before) {
                    (Some(_), Some(index)) => index.clone(),
                    _ => Arc::new(RouteIndex::new(set, before.map(|index| &**index))),
                };
                (name.clone(), index)
            })
            .collect();
        let certificates = Certificates::new(&snapshot, keys, &previous.certificates);
        let tls: AHashMap<Name, Arc<TlsHost>> = snapshot
            .tls_sets
            .iter()
            .map(|(name, set)| (name.clone(), TlsHost::new(set, &certificates, previous.tls.get(name))))
            .collect();
        let nothing = Arc::new(RouteIndex::default());
        let entry = |listener: &Part<Listener>| ListenerEntry {
            routes: routes.get(&listener.routes).unwrap_or(&nothing).clone(),
            sections: (listener.sections.iter())
                .map(|section| (section.hostname.clone(), routes.get(&section.routes).unwrap_or(&nothing).clone()))
                .collect(),
            tls: listener.tls.as_ref().and_then(|name| tls.get(name)).cloned(),
            listener: listener.clone(),
        };
        let listeners = snapshot.listeners.iter().map(|(name, listener)| (name.clone(), entry(listener))).collect();
        let frontends = snapshot.listeners.iter().filter_map(|(name, listener)| match &listener.parent {
            Parent::Service { frontends, .. } => Some(frontends.iter().map(|frontend| (*frontend, name.clone()))),
            Parent::Ingress | Parent::Gateway { .. } | Parent::Node => None,
        });
        let redirects = frontends.flatten().collect();
        let upstreams = Arc::new(Upstreams::new(&snapshot, keys, Some(&previous.upstreams)));
        let gateway_addresses = snapshot.listeners.values().filter_map(|listener| owned_address(listener)).collect();
        Self {
            digest: snapshot.digest(),
            listeners,
            routes,
            tls,
            certificates,
            upstreams,
            redirects,
            gateway_addresses,
            snapshot,
        }
    }
}

/// The address that a Gateway's listener has for itself.
fn owned_address(listener: &Listener) -> Option<IpAddr> {
    match (&listener.parent, listener.address) {
        (Parent::Gateway { .. }, ListenerAddress::Ip(ip)) => Some(ip),
        _ => None,
    }
}

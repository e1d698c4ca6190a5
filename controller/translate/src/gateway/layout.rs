//! Where all Gateways listen: which of their listeners are in conflict, have their certificates, and can be had at all.
//!
//! Computed for all of them at once, since they may want the same port; costs the listeners, not their routes.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use rust_ingress_model::{ClientCertificates, Fingerprint, HostPattern, ListenerAddress, Name, ObjectRef};

use super::GROUP;
use super::authority::Reasons;
use super::grant::SECRET;
use super::listener::{CertificateRef, Gateway, Listener};
use super::parameters::Parameters;
use super::ports::{self, Ports};
use crate::settings::{Origin, Settings};
use crate::world::{Key, World};

/// Kinds of routes that HTTP listeners take.
const HTTP_KINDS: &[&str] = &["GRPCRoute", "HTTPRoute"];

/// What is said of a reference to authorities for clients.
const CLIENT_REASONS: Reasons = Reasons { kind: "InvalidCACertificateKind", reference: "InvalidCACertificateRef" };

/// A reason, as conditions have it, and words for people.
pub(crate) type Why = (&'static str, String);

/// All Gateways of ours.
#[derive(Default)]
pub(crate) struct Layout<'w> {
    pub(crate) gateways: BTreeMap<&'w Key, Placed<'w>>,
}

/// One Gateway.
pub(crate) struct Placed<'w> {
    pub(crate) gateway: &'w Gateway,
    pub(crate) listeners: Vec<State<'w>>,
    /// Where its listeners are bound; empty: nowhere.
    pub(crate) binds: Vec<ListenerAddress>,
    /// In a cluster: the port that the proxy listens on for each of its own.
    pub(crate) ports: BTreeMap<u16, u16>,
    /// What is said of it beside the Gateway API.
    pub(crate) parameters: Parameters,
    /// Why it isn't accepted, whatever its listeners are.
    pub(crate) refused: Option<Why>,
    /// Routes that a listener, by its place, doesn't take because of an older one; worked out when first asked for.
    pub(super) outdone: OnceCell<BTreeMap<(usize, ObjectRef), ObjectRef>>,
}

/// One listener.
pub(crate) struct State<'w> {
    /// The Gateway, or the ListenerSet, that it is written in.
    pub(crate) owner: &'w ObjectRef,
    pub(crate) listener: &'w Listener,
    /// Kinds of routes that may attach.
    pub(crate) kinds: Vec<Name>,
    pub(crate) accepted: Result<(), Why>,
    /// Another listener of the Gateway wants the same.
    pub(crate) conflict: Option<Why>,
    /// What is wrong with its references.
    pub(crate) unresolved: Option<Why>,
    pub(crate) certificates: Vec<Fingerprint>,
    /// Which certificates clients show.
    pub(crate) clients: Option<ClientCertificates>,
}

impl State<'_> {
    /// Whether it takes traffic.
    pub(crate) fn served(&self) -> bool {
        self.accepted.is_ok() && self.conflict.is_none() && (self.listener.tls.is_none() || !self.certificates.is_empty())
    }

    /// Whether TLS is spoken.
    pub(crate) fn https(&self) -> bool {
        &*self.listener.protocol == "HTTPS"
    }
}

impl World {
    /// Lays out all Gateways.
    pub(crate) fn layout(&self, settings: &Settings) -> Layout<'_> {
        let ours = |gateway: &&Gateway| self.gateway_class_is_ours(&gateway.class, settings);
        let mut ours: Vec<&Gateway> = self.gateways.gateways.values().map(|gateway| &**gateway).filter(ours).collect();
        ours.sort_by_cached_key(|gateway| gateway.age());
        let ports = match settings.origin {
            Origin::Files => Ports::new(),
            Origin::Cluster => ports::assign(ours.iter().map(|gateway| (key_of(gateway), self.wanted_ports(gateway)))),
        };
        let mut taken = Taken::by_ingress(settings);
        let mut layout = Layout::default();
        for gateway in ours {
            let Some((key, _)) = self.gateways.gateways.get_key_value(&key_of(gateway)) else { continue };
            let mut placed = self.place(gateway, settings);
            let own = |listener: &Listener| Some((listener.port, *ports.get(&(key.clone(), listener.port))?));
            placed.ports = placed.listeners.iter().map(|state| state.listener).filter_map(own).collect();
            if settings.origin == Origin::Files {
                taken.claim(&mut placed);
            }
            layout.gateways.insert(key, placed);
        }
        layout
    }

    /// The ports of a Gateway's listeners, and of its ListenerSets'.
    fn wanted_ports(&self, gateway: &Gateway) -> BTreeSet<u16> {
        let sets = self.sets_of(gateway).into_iter().flat_map(|set| &set.listeners);
        gateway.listeners.iter().chain(sets).map(|listener| listener.port).collect()
    }

    fn place<'w>(&'w self, gateway: &'w Gateway, settings: &Settings) -> Placed<'w> {
        let mut listeners: Vec<State<'w>> =
            gateway.listeners.iter().map(|one| self.state(gateway, &gateway.reference, one)).collect();
        for set in self.sets_of(gateway) {
            listeners.extend(set.listeners.iter().map(|one| self.state(gateway, &set.reference, one)));
        }
        conflicts(&mut listeners);
        let strange = gateway.addresses.iter().find(|(kind, value)| {
            let bad = value.as_ref().is_some_and(|value| value.parse::<IpAddr>().is_err());
            &**kind != "IPAddress" || bad
        });
        let parameters = self.parameters_of(gateway);
        let refused = match (&parameters, strange) {
            (Err(why), _) => Some(("InvalidParameters", why.clone())),
            (Ok(_), Some((kind, value))) => {
                let value = value.as_deref().unwrap_or_default();
                Some(("UnsupportedAddress", format!("an address {value:?} of type {kind} can't be served; ask for an IPAddress")))
            }
            (Ok(_), None) => None,
        };
        let binds = match settings.origin {
            Origin::Files if gateway.addresses.is_empty() => vec![ListenerAddress::Any],
            Origin::Files => gateway.ips().map(ListenerAddress::Ip).collect(),
            Origin::Cluster => vec![ListenerAddress::Any],
        };
        let binds = if refused.is_some() { Vec::new() } else { binds };
        Placed {
            gateway,
            listeners,
            binds,
            ports: BTreeMap::new(),
            parameters: parameters.unwrap_or_default(),
            refused,
            outdone: OnceCell::new(),
        }
    }

    fn state<'w>(&'w self, gateway: &Gateway, owner: &'w ObjectRef, listener: &'w Listener) -> State<'w> {
        let http = matches!(&*listener.protocol, "HTTP" | "HTTPS");
        let known: &[&str] = if http { HTTP_KINDS } else { &[] };
        let wished = |kind: &&str| {
            listener.kinds.is_empty() || listener.kinds.iter().any(|(group, name)| &**group == GROUP && **name == **kind)
        };
        let kinds: Vec<Name> = known.iter().copied().filter(wished).map(Name::from).collect();
        let strange = listener.kinds.iter().find(|(group, kind)| &**group != GROUP || !known.contains(&&**kind));
        let mut state = State {
            owner,
            listener,
            kinds,
            accepted: Ok(()),
            conflict: None,
            unresolved: None,
            certificates: Vec::new(),
            clients: None,
        };
        if !http {
            let message = format!("the protocol {} isn't served; write HTTP or HTTPS", listener.protocol);
            state.accepted = Err(("UnsupportedProtocol", message));
        } else if let Some((group, kind)) = strange {
            let message =
                format!("routes of kind {kind} of group {group} can't attach to a listener of protocol {}", listener.protocol);
            state.unresolved = Some(("InvalidRouteKinds", message));
        }
        if state.https() {
            self.certificates_of(listener, &mut state);
            self.clients_of(gateway, listener, &mut state);
        }
        state
    }

    fn certificates_of(&self, listener: &Listener, state: &mut State<'_>) {
        let Some(tls) = listener.tls.as_ref().filter(|tls| !tls.passthrough) else {
            let message = "a listener of protocol HTTPS terminates TLS; write tls.certificateRefs".to_owned();
            state.accepted = Err(("UnsupportedValue", message));
            return;
        };
        if tls.certificates.is_empty() {
            state.unresolved =
                Some(("InvalidCertificateRef", "the listener names no certificate; write tls.certificateRefs".into()));
        }
        for reference in &tls.certificates {
            match self.certificate_of(state.owner, reference) {
                Ok(fingerprint) => state.certificates.push(fingerprint),
                Err(why) => state.unresolved = Some(why),
            }
        }
    }

    /// Without a single authority that can be used nobody is let in.
    fn clients_of(&self, gateway: &Gateway, listener: &Listener, state: &mut State<'_>) {
        let Some(validation) = gateway.clients(listener.port) else { return };
        let from = ((GROUP, "Gateway"), &gateway.reference.namespace);
        let (authorities, wrong) = self.authorities(&validation.refs, from, CLIENT_REASONS);
        if authorities.is_empty() && state.accepted.is_ok() {
            let message =
                wrong.as_ref().map_or("tls.frontend names no authority; write caCertificateRefs", |(_, message)| message);
            state.accepted = Err(("NoValidCACertificate", message.to_owned()));
        }
        state.unresolved = state.unresolved.take().or(wrong);
        state.clients = Some(ClientCertificates { authorities, insecure_fallback: validation.insecure_fallback });
    }

    /// The certificate of a reference, or what is wrong with it.
    pub(crate) fn certificate_of(&self, owner: &ObjectRef, reference: &CertificateRef) -> Result<Fingerprint, Why> {
        let CertificateRef { secret, what, key } = reference;
        if !secret {
            return Err(("InvalidCertificateRef", format!("{what} can't be a certificate; name a Secret")));
        }
        let from = ((GROUP, &*owner.kind), &owner.namespace);
        if !self.granted(from, SECRET, (&key.0, &key.1)) {
            let message = format!("{what} is in another namespace, and no ReferenceGrant there allows it");
            return Err(("RefNotPermitted", message));
        }
        match self.secrets.get(key) {
            Some(Ok(usable)) => Ok(usable.fingerprint),
            Some(Err(unusable)) => Err(("InvalidCertificateRef", format!("{what} {}; {}", unusable.why, unusable.advice))),
            None => Err(("InvalidCertificateRef", format!("{what} isn't there; create it, or correct the reference"))),
        }
    }
}

/// Namespace and name.
pub(crate) fn key_of(gateway: &Gateway) -> Key {
    (gateway.reference.namespace.clone(), gateway.reference.name.clone())
}

/// Listeners of one Gateway that can't be told apart. Of those that one object has none is served (Gateway API, Conflicted);
/// otherwise the Gateway's own, and those of an older ListenerSet, have been there before.
fn conflicts(listeners: &mut [State<'_>]) {
    let all: Vec<(u16, Name, HostPattern, &ObjectRef)> = listeners
        .iter()
        .map(|state| (state.listener.port, state.listener.protocol.clone(), state.listener.hostname.clone(), state.owner))
        .collect();
    let mut lost = BTreeSet::new();
    for (index, state) in listeners.iter_mut().enumerate() {
        let (port, protocol, hostname) = (state.listener.port, &state.listener.protocol, &state.listener.hostname);
        let others = || {
            all.iter().enumerate().filter(|(other, one)| {
                let before = one.3 == state.owner || (*other < index && !lost.contains(other));
                *other != index && before && one.0 == port && state.accepted.is_ok()
            })
        };
        let differs = others().any(|(_, (_, other, ..))| other != protocol && matches!(&**other, "HTTP" | "HTTPS"));
        let same = others().any(|(_, (_, other, host, _))| other == protocol && host == hostname);
        state.conflict = match (differs, same) {
            (true, _) => Some(("ProtocolConflict", format!("another listener has port {port} with another protocol"))),
            (_, true) => Some(("HostnameConflict", format!("another listener has port {port} for the same hostname"))),
            _ => None,
        };
        if state.conflict.is_some() || state.accepted.is_err() {
            lost.insert(index);
        }
    }
}

/// Places in a folder, where listeners are bound as they are written: who has them.
struct Taken(Vec<(ListenerAddress, u16, String)>);

impl Taken {
    fn by_ingress(settings: &Settings) -> Self {
        let address = |address: &SocketAddr| match address.ip() {
            ip if ip.is_unspecified() => ListenerAddress::Any,
            ip => ListenerAddress::Ip(ip),
        };
        let both = settings.http.iter().chain(&settings.https).filter(|one| one.port() != 0);
        Self(both.map(|one| (address(one), one.port(), "Ingress".to_owned())).collect())
    }

    fn owner(&self, address: ListenerAddress, port: u16) -> Option<&str> {
        let any = ListenerAddress::Any;
        let overlaps = |(other, taken, _): &&(ListenerAddress, u16, String)| {
            *taken == port && (*other == address || *other == any || address == any)
        };
        self.0.iter().find(overlaps).map(|(_, _, owner)| &**owner)
    }

    /// Gives a Gateway its places; a listener whose place another has isn't served.
    fn claim(&mut self, placed: &mut Placed<'_>) {
        let mut own = BTreeSet::new();
        for state in &mut placed.listeners {
            let port = state.listener.port;
            let owner = placed.binds.iter().find_map(|address| Some(self.owner(*address, port)?.to_owned()));
            if let (Some(owner), Ok(())) = (owner, &state.accepted) {
                let message = format!("{owner} has port {port} already; give the Gateway another port, or an address of its own");
                state.accepted = Err(("PortUnavailable", message));
            } else if state.accepted.is_ok() {
                own.insert(port);
            }
        }
        for port in own {
            let owner = placed.gateway.reference.to_string();
            self.0.extend(placed.binds.iter().map(|address| (*address, port, owner.clone())));
        }
    }
}

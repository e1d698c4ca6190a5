//! The snapshots of a swap run: each differs from the one before in routes, hosts, endpoints, certificates and listeners.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use rust_ingress_model::backend::Balance;
use rust_ingress_model::{
    AppProtocol, Backend, BackendKey, BackendRef, Certificate, Discovery, Endpoint, Fingerprint, HostPattern, KeyPair, KeyStore,
    Listener, ListenerAddress, ObjectRef, Part, PartMap, PathMatch, PortRef, Protocol, RouteMatch, RouteSet, Rule, Snapshot,
    Timeouts, TlsSet, VirtualHost, WeightedBackend,
};
use rustls::pki_types::CertificateDer;

use super::upstreams::Upstreams;

/// The name that the certificates are for.
pub(super) const HOST: &str = "swap.example";

/// Rules beside those that the clients use, of which some come and go.
const OTHER_RULES: usize = 200;

/// Makes one snapshot after another.
pub(super) struct Snapshots {
    generation: usize,
    upstreams: Upstreams,
    pairs: [(Fingerprint, Arc<KeyPair>); 2],
}

impl Snapshots {
    /// The first of them.
    pub(super) fn new(upstreams: &Upstreams) -> Result<Self> {
        Ok(Self { generation: 0, upstreams: upstreams.clone(), pairs: [pair()?, pair()?] })
    }

    /// Goes on to the next.
    pub(super) fn next(&mut self) {
        self.generation += 1;
    }

    /// A path that only the current snapshot answers, and one that it must no longer answer.
    pub(super) fn paths(&self) -> (String, Option<String>) {
        let before = self.generation.checked_sub(1);
        (format!("/generation/{}", self.generation), before.map(|before| format!("/generation/{before}")))
    }

    /// The leaf that the current snapshot presents.
    pub(super) fn leaf(&self) -> &[u8] {
        let [even, odd] = &self.pairs;
        let (_, pair) = if self.generation.is_multiple_of(2) { even } else { odd };
        pair.chain.first().map(Vec::as_slice).unwrap_or_default()
    }

    /// All certificates of the run, to trust.
    pub(super) fn roots(&self) -> impl Iterator<Item = CertificateDer<'static>> {
        self.pairs.iter().flat_map(|(_, pair)| pair.chain.iter().map(|der| CertificateDer::from(der.clone())))
    }

    /// The current snapshot and its keys.
    pub(super) fn current(&self) -> (Snapshot, KeyStore) {
        let mut keys = KeyStore::default();
        for (_, pair) in &self.pairs {
            keys.insert(pair.clone());
        }
        let snapshot = Snapshot {
            listeners: self.listeners(),
            route_sets: BTreeMap::from([("ingress".into(), self.routes())]),
            backends: self.backends(),
            tls_sets: PartMap::from([("ingress".into(), Part::new(self.tls_set()))]),
            certificates: self.certificates(),
            ..Snapshot::default()
        };
        (snapshot, keys)
    }

    fn listeners(&self) -> PartMap<Arc<str>, Listener> {
        let http = Listener::http(ListenerAddress::Ip([127, 0, 0, 1].into()), 0, "ingress".into());
        let https = Listener { protocol: Protocol::Https, tls: Some("ingress".into()), ..http.clone() };
        let mut all = PartMap::from([("http".into(), Part::new(http.clone())), ("https".into(), Part::new(https))]);
        if self.generation % 2 == 1 {
            all.insert("sometimes".into(), Part::new(http));
        }
        all
    }

    fn routes(&self) -> RouteSet {
        let (path, _) = self.paths();
        let mut rules = vec![
            rule("/generation", PathMatch::Exact(path.into()), "echo"),
            rule("/echo", PathMatch::Prefix("/echo".into()), "echo"),
            rule("/socket", PathMatch::Exact("/socket".into()), "socket"),
            rule("/grpc", PathMatch::Prefix("/swap.Echo".into()), "grpc"),
        ];
        let others = (0..OTHER_RULES).filter(|other| !(other + self.generation).is_multiple_of(5));
        rules.extend(others.map(|other| rule("/other", PathMatch::Prefix(format!("/other/{other}").into()), "echo")));
        let host = |host: HostPattern, rules| (host.clone(), Part::new(VirtualHost { host, rules }));
        let elsewhere: Arc<str> = format!("host-{}.example", self.generation % 7).into();
        let elsewhere = host(HostPattern::Exact(elsewhere), vec![rule("/", PathMatch::Prefix("/".into()), "echo")]);
        RouteSet { hosts: PartMap::from([host(HostPattern::Any, rules), elsewhere]) }
    }

    /// Endpoints come and go: of each kind the one whose turn it is to rest is left out, whoever is connected to it.
    fn backends(&self) -> PartMap<BackendKey, Backend> {
        let some = |all: &[SocketAddr]| -> Vec<Endpoint> {
            let resting = self.generation % all.len().max(1);
            let awake = all.iter().enumerate().filter(|(at, _)| *at != resting);
            awake.map(|(_, address)| Endpoint { address: *address, target: None, zone: None }).collect()
        };
        let backend = |name, protocol, all: &[SocketAddr]| {
            let discovery = Discovery::Endpoints(some(all));
            (key(name), Part::new(Backend { protocol, tls: None, balance: Balance::default(), discovery }))
        };
        PartMap::from([
            backend("echo", AppProtocol::Http, &self.upstreams.echo),
            backend("socket", AppProtocol::Http, &self.upstreams.socket),
            backend("grpc", AppProtocol::H2c, &self.upstreams.grpc),
        ])
    }

    fn tls_set(&self) -> TlsSet {
        let [even, odd] = &self.pairs;
        let (fingerprint, _) = if self.generation.is_multiple_of(2) { even } else { odd };
        TlsSet { by_host: BTreeMap::from([(HostPattern::Exact(HOST.into()), *fingerprint)]), ..TlsSet::default() }
    }

    fn certificates(&self) -> PartMap<Fingerprint, Certificate> {
        let certificate = || Certificate { source: None, dns_names: vec![HOST.into()], not_after: i64::from(u32::MAX) };
        self.pairs.iter().map(|(fingerprint, _)| (*fingerprint, Part::new(certificate()))).collect()
    }
}

fn key(service: &str) -> BackendKey {
    BackendKey { namespace: "default".into(), service: service.into(), port: PortRef::Number(80), protocol: None, gateway: None }
}

fn rule(field: &str, path: PathMatch, service: &str) -> Rule {
    let backend = BackendRef::Service(key(service));
    Rule {
        source: ObjectRef::new("Ingress", "default", "swap"),
        field: field.into(),
        matches: vec![RouteMatch::path(path)],
        filters: Vec::new(),
        guards: Vec::new(),
        backends: vec![WeightedBackend { backend, weight: 1, filters: Vec::new() }],
        timeouts: Timeouts::default(),
        retry: None,
        persistence: None,
        max_body: None,
    }
}

fn pair() -> Result<(Fingerprint, Arc<KeyPair>)> {
    let made = rcgen::generate_simple_self_signed(vec![HOST.to_owned()])?;
    let pair = KeyPair { chain: vec![made.cert.der().to_vec()], key: made.signing_key.serialize_der().into() };
    Ok((pair.fingerprint(), Arc::new(pair)))
}

//! Incremental translation equals translation from nothing, after any sequence of changes, in both origins.
//!
//! Names are few, so that changes meet: hosts conflict, Secrets are shared, classes change hands, endpoints flip.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;
#[path = "incremental/gateways.rs"]
mod gateways;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use common::GoldenSettings;
use proptest::prelude::*;
use proptest::sample::select;
use rust_ingress_model::{Fault, KeyStore, ObjectRef, Reason, Severity, Snapshot};
use rust_ingress_translate::{Change, Dirty, Origin, Settings, World, translate};
use serde_json::{Value, json};

/// Certificates for the Secrets, made once: two good ones, two that hold the same, one with another's key, one that is none.
static CERTIFICATES: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
    let make = |name: &str| {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    };
    let (exact, wild) = (make("foo.com"), make("*.foo.com"));
    let mismatch = (exact.0.clone(), wild.1.clone());
    vec![exact, wild, mismatch, ("nothing".into(), "nothing".into())]
});

const NAMESPACES: &[&str] = &["a", "b"];
const NAMES: &[&str] = &["x", "y", "z"];
const HOSTS: &[&str] = &["foo.com", "a.foo.com", "*.foo.com", "", "bad host"];
const CLASSES: &[&str] = &["rust-ingress", "edge", "other"];

/// A change that can be printed: an [`Object`](rust_ingress_translate::Object) can't, since a Secret must not.
#[derive(Debug, Clone)]
enum Step {
    Put(Value),
    Delete(ObjectRef),
    Faults { source: ObjectRef, faults: Vec<Fault> },
}

impl Step {
    fn change(self) -> Change {
        match self {
            Self::Put(object) => Change::Put(common::object(object)),
            Self::Delete(reference) => Change::Delete(reference),
            Self::Faults { source, faults } => Change::Faults { source, faults },
        }
    }
}

fn metadata() -> impl Strategy<Value = (&'static str, &'static str)> {
    (select(NAMESPACES), select(NAMES))
}

fn backend() -> impl Strategy<Value = Value> {
    (select(NAMES), prop_oneof![Just(json!({"number": 80})), Just(json!({"name": "http"})), Just(json!({"number": 81}))])
        .prop_map(|(name, port)| json!({"service": {"name": name, "port": port}}))
}

fn rule() -> impl Strategy<Value = Value> {
    let path = (select(&["/", "/x", "/x/", "x"][..]), select(&["Exact", "Prefix", "ImplementationSpecific"][..]), backend())
        .prop_map(|(path, kind, backend)| json!({"path": path, "pathType": kind, "backend": backend}));
    (select(HOSTS), prop::option::weighted(0.9, prop::collection::vec(path, 1..3))).prop_map(|(host, paths)| match paths {
        Some(paths) => json!({"host": host, "http": {"paths": paths}}),
        None => json!({"host": host}),
    })
}

fn tls() -> impl Strategy<Value = Value> {
    (prop::option::of(prop::collection::vec(select(&HOSTS[..3]), 0..3)), prop::option::weighted(0.9, select(NAMES)))
        .prop_map(|(hosts, secret)| json!({"hosts": hosts, "secretName": secret}))
}

fn annotations() -> impl Strategy<Value = Value> {
    let one = prop_oneof![
        Just(json!({})),
        Just(json!({"kubernetes.io/ingress.class": "edge"})),
        Just(json!({"rust-ingress.dev/backend-protocol": "HTTPS"})),
        Just(json!({"rust-ingress.dev/redirect-https": "true"})),
        Just(json!({"nginx.ingress.kubernetes.io/auth-url": "https://auth"})),
        Just(json!({"nginx.ingress.kubernetes.io/canary": "true"})),
    ];
    prop_oneof![3 => Just(json!({})), 1 => one]
}

fn ingress() -> impl Strategy<Value = Value> {
    let spec = (
        prop::option::of(select(CLASSES)),
        prop::collection::vec(rule(), 0..3),
        prop::option::weighted(0.3, backend()),
        prop::collection::vec(tls(), 0..3),
    );
    (metadata(), annotations(), spec, prop::option::of(1..4_u8), 0..3_i64).prop_map(
        |((namespace, name), annotations, (class, rules, default, tls), day, generation)| {
            let created = day.map(|day| format!("2026-01-0{day}T00:00:00Z"));
            json!({
                "kind": "Ingress",
                "apiVersion": "networking.k8s.io/v1",
                "metadata": {
                    "namespace": namespace, "name": name, "annotations": annotations,
                    "creationTimestamp": created, "generation": generation,
                },
                "spec": {"ingressClassName": class, "rules": rules, "defaultBackend": default, "tls": tls},
            })
        },
    )
}

fn class() -> impl Strategy<Value = Value> {
    let controllers = ["rust-ingress.dev/ingress-controller", "k8s.io/ingress-nginx"];
    (select(CLASSES), select(controllers.to_vec()), any::<bool>(), 1..4_u8).prop_map(|(name, controller, default, day)| {
        json!({
            "kind": "IngressClass",
            "apiVersion": "networking.k8s.io/v1",
            "metadata": {
                "name": name,
                "creationTimestamp": format!("2026-01-0{day}T00:00:00Z"),
                "annotations": {"ingressclass.kubernetes.io/is-default-class": default.to_string()},
            },
            "spec": {"controller": controller},
        })
    })
}

fn service() -> impl Strategy<Value = Value> {
    let builtin = json!({"rust-ingress.dev/builtin-backend": "echo"});
    let spec = prop_oneof![
        1 => Just(json!({"ports": [{"port": 80, "name": "http"}]})),
        1 => Just(json!({"ports": [{"port": 80, "appProtocol": "mysql"}, {"port": 81, "name": "http"}]})),
        1 => Just(json!({"type": "ExternalName", "externalName": "example.org"})),
        4 => l4_spec(),
    ];
    let annotations = vec![
        json!({}),
        json!({}),
        builtin,
        json!({"rust-ingress.dev/l7": "enabled"}),
        json!({"rust-ingress.dev/l7": "yes"}),
        json!({"rust-ingress.dev/addresses": "192.0.2.2"}),
        json!({"rust-ingress.dev/addresses": "192.0.2.2,x", "rust-ingress.dev/share-address": "k"}),
        json!({"rust-ingress.dev/share-address": "k"}),
    ];
    let labels = vec![json!({}), json!({}), json!({"service.kubernetes.io/service-proxy-name": "other"})];
    let addresses = vec![
        json!([]),
        json!([{"ip": "192.0.2.1"}]),
        json!([{"ip": "192.0.2.2", "ipMode": "VIP"}]),
        json!([{"ip": "192.0.2.3"}, {"ip": "2001:db8::1"}]),
        json!([{"ip": "10.96.0.1", "ipMode": "VIP"}]),
        json!([{"hostname": "lb.example"}]),
    ];
    (metadata(), select(annotations), spec, select(labels), select(addresses), 1..4_u8).prop_map(
        |((namespace, name), annotations, spec, labels, addresses, day)| {
            let created = format!("2026-01-0{day}T00:00:00Z");
            let metadata = json!({"namespace": namespace, "name": name, "annotations": annotations, "labels": labels,
                "creationTimestamp": created});
            let status = json!({"loadBalancer": {"ingress": addresses}});
            json!({"kind": "Service", "apiVersion": "v1", "metadata": metadata, "spec": spec, "status": status})
        },
    )
}

/// Few addresses and NodePorts, so that Services claim the same.
fn l4_spec() -> impl Strategy<Value = Value> {
    let ips = select(vec![json!(["10.96.0.1"]), json!(["10.96.0.1", "fd00::2"]), json!(["None"]), json!([])]);
    let external = select(vec![json!([]), json!(["192.0.2.1"]), json!(["10.96.0.1", "192.0.2.1"])]);
    let kind = select(vec!["ClusterIP", "NodePort", "LoadBalancer", "LoadBalancer", "LoadBalancer"]);
    let class = select(vec![json!(null), json!("rust-ingress.dev/pool"), json!("rust-ingress.dev/pool"), json!("other")]);
    let families = vec![(json!(["IPv4"]), "SingleStack"), (json!(["IPv4", "IPv6"]), "PreferDualStack")];
    let families = select([families, vec![(json!(["IPv6", "IPv4"]), "RequireDualStack"), (json!([]), "SingleStack")]].concat());
    let node_port = prop::option::of(30000..30002_u16);
    let port = (80..82_u16, select(vec!["http", "dns", ""]), select(vec!["TCP", "TCP", "TCP", "UDP", "QUIC"]), node_port)
        .prop_map(
            |(port, name, protocol, node_port)| json!({"port": port, "name": name, "protocol": protocol, "nodePort": node_port}),
        );
    let port = prop::collection::vec(port, 0..3);
    (ips, external, (kind, class, families), port, select(vec!["Local", "Cluster"]), any::<bool>()).prop_map(
        |(ips, external, (kind, class, (families, stack)), ports, policy, ranges)| {
            let ranges = if ranges { json!(["203.0.113.0/24", "bad"]) } else { json!([]) };
            json!({"type": kind, "clusterIP": ips[0], "clusterIPs": ips, "externalIPs": external, "ports": ports,
                "externalTrafficPolicy": policy, "loadBalancerSourceRanges": ranges,
                "loadBalancerClass": class, "ipFamilies": families, "ipFamilyPolicy": stack})
        },
    )
}

fn cidr() -> impl Strategy<Value = Value> {
    let cidrs = select(vec![json!(["10.96.0.0/16"]), json!(["10.96.0.0/16", "fd00::/112"]), json!([])]);
    (select(NAMES), cidrs).prop_map(|(name, cidrs)| {
        json!({"kind": "ServiceCIDR", "apiVersion": "networking.k8s.io/v1", "metadata": {"name": name}, "spec": {"cidrs": cidrs}})
    })
}

/// Few addresses, so that they run out; some stand in two pools.
fn pool() -> impl Strategy<Value = Value> {
    let addresses = select(vec![
        json!(["192.0.2.1-192.0.2.2"]),
        json!(["192.0.2.2-192.0.2.4", "2001:db8::/127"]),
        json!(["192.0.2.1", "2001:db8::1", "bad"]),
        json!(["203.0.113.0/30"]),
        json!([]),
    ]);
    let namespaces = select(vec![json!([]), json!([]), json!(["a"])]);
    let selector =
        select(vec![json!(null), json!(null), json!({"matchExpressions": [{"key": "x", "operator": "DoesNotExist"}]})]);
    (select(NAMES), addresses, any::<bool>(), namespaces, selector, 1..3_u8).prop_map(
        |(name, addresses, default, namespaces, selector, day)| {
            let metadata = json!({"name": name, "creationTimestamp": format!("2026-01-0{day}T00:00:00Z")});
            json!({"kind": "AddressPool", "apiVersion": "rust-ingress.dev/v1alpha1", "metadata": metadata,
                "spec": {"addresses": addresses, "default": default, "namespaces": namespaces, "serviceSelector": selector}})
        },
    )
}

fn slice() -> impl Strategy<Value = Value> {
    let endpoint = (select(&["10.0.0.1", "10.0.0.2", "127.0.0.1"][..]), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(address, ready, serving, terminating)| {
            let node = if ready { "node1" } else { "node2" };
            let hints = if serving { json!({"forZones": [{"name": "a"}]}) } else { json!({"forNodes": [{"name": "node1"}]}) };
            json!({"addresses": [address], "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
                "nodeName": node, "zone": "a", "hints": hints})
        },
    );
    let headless = prop::bool::weighted(0.1);
    let endpoints = prop::collection::vec(endpoint, 0..3);
    (metadata(), prop::option::weighted(0.9, select(NAMES)), any::<bool>(), endpoints, headless).prop_map(
        |((namespace, name), service, named, endpoints, headless)| {
            let mut labels = service.map_or(json!({}), |service| json!({"kubernetes.io/service-name": service}));
            if headless {
                labels["service.kubernetes.io/headless"] = json!("");
            }
            let port = if named { json!({"port": 8080, "name": "http"}) } else { json!({"port": 8080}) };
            json!({
                "kind": "EndpointSlice",
                "apiVersion": "discovery.k8s.io/v1",
                "metadata": {"namespace": namespace, "name": name, "labels": labels},
                "addressType": "IPv4",
                "ports": [port],
                "endpoints": endpoints,
            })
        },
    )
}

fn secret() -> impl Strategy<Value = Value> {
    (metadata(), 0..4_usize).prop_map(|((namespace, name), which)| {
        let (certificate, key) = &CERTIFICATES[which];
        json!({
            "kind": "Secret",
            "apiVersion": "v1",
            "metadata": {"namespace": namespace, "name": name},
            "stringData": {"tls.crt": certificate, "tls.key": key},
        })
    })
}

fn delete() -> impl Strategy<Value = Step> {
    let namespaced = select(vec!["Ingress", "Service", "EndpointSlice", "Secret"]);
    prop_oneof![
        4 => (namespaced, metadata()).prop_map(|(kind, (namespace, name))| Step::Delete(ObjectRef::new(kind, namespace, name))),
        1 => select(CLASSES).prop_map(|name| Step::Delete(ObjectRef::new("IngressClass", "", name))),
        1 => select(NAMES).prop_map(|name| Step::Delete(ObjectRef::new("ServiceCIDR", "", name))),
    ]
}

fn file_faults() -> impl Strategy<Value = Step> {
    (select(NAMES), any::<bool>()).prop_map(|(name, bad)| {
        let source = ObjectRef::new("File", "", name);
        let fault = Fault {
            object: source.clone(),
            field: "line 1".into(),
            severity: Severity::Error,
            reason: Reason::InvalidDocument,
            message: "isn't YAML".into(),
            advice: "correct it".into(),
        };
        Step::Faults { source, faults: bad.then_some(fault).into_iter().collect() }
    })
}

fn change() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => ingress().prop_map(Step::Put),
        2 => class().prop_map(Step::Put),
        4 => service().prop_map(Step::Put),
        1 => cidr().prop_map(Step::Put),
        4 => slice().prop_map(Step::Put),
        3 => secret().prop_map(Step::Put),
        4 => delete(),
        1 => file_faults(),
    ]
}

/// What L4 is made of, close together.
fn l4_change() -> impl Strategy<Value = Step> {
    let services = (select(vec!["Service", "EndpointSlice"]), metadata());
    prop_oneof![
        8 => service().prop_map(Step::Put),
        4 => slice().prop_map(Step::Put),
        1 => cidr().prop_map(Step::Put),
        2 => pool().prop_map(Step::Put),
        1 => select(NAMES).prop_map(|name| Step::Delete(ObjectRef::new("AddressPool", "", name))),
        3 => services.prop_map(|(kind, (namespace, name))| Step::Delete(ObjectRef::new(kind, namespace, name))),
        1 => select(NAMES).prop_map(|name| Step::Delete(ObjectRef::new("ServiceCIDR", "", name))),
        1 => change(),
    ]
}

/// The keys of a snapshot: under each of its fingerprints the pair that has it.
fn keys(world: &World, snapshot: &Snapshot, settings: &Settings) -> KeyStore {
    let keys = world.key_store(snapshot, settings);
    assert_eq!(keys.len(), snapshot.certificates.len(), "each certificate has its key");
    for fingerprint in snapshot.certificates.keys() {
        assert_eq!(keys.get(fingerprint).unwrap().fingerprint(), *fingerprint);
    }
    keys
}

/// Whoever holds a snapshot whose parts refer to each other finds what they refer to.
fn assert_closed(snapshot: &Snapshot) {
    let rules = snapshot.route_sets.values().flat_map(|set| set.hosts.values()).flat_map(|host| &host.rules);
    for backend in rules.flat_map(|rule| &rule.backends) {
        if let rust_ingress_model::BackendRef::Service(key) = &backend.backend {
            assert!(snapshot.backends.contains_key(key), "{key} is there");
        }
    }
    for fingerprint in snapshot.tls_sets.values().flat_map(|set| set.by_host.values().copied().chain(set.default)) {
        assert!(snapshot.certificates.contains_key(&fingerprint), "{fingerprint} is there");
    }
}

fn run(batches: Vec<Vec<Step>>, settings: &Settings) {
    let (mut world, mut again) = (World::new(settings), World::new(settings));
    let (mut snapshot, _) = translate(&world, settings, &Snapshot::default(), &Dirty::all());
    let mut known = BTreeMap::new();
    for batch in batches {
        for change in batch.into_iter().map(Step::change) {
            again.apply(change.clone());
            world.apply(change);
        }
        let dirty = world.take_dirty();
        drop(again.take_dirty());
        let (incremental, status) = translate(&world, settings, &snapshot, &dirty);
        let (whole, whole_status) = translate(&again, settings, &Snapshot::default(), &Dirty::all());
        assert_eq!(incremental, whole);
        let mut whole_known = BTreeMap::new();
        status.apply(&mut known);
        whole_status.apply(&mut whole_known);
        assert_eq!(known, whole_known);
        let (keys, whole_keys) = (keys(&world, &incremental, settings), keys(&again, &whole, settings));
        for fingerprint in whole.certificates.keys() {
            assert!(keys.get(fingerprint).unwrap().key == whole_keys.get(fingerprint).unwrap().key);
        }
        assert_closed(&incremental);
        snapshot = incremental;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn incremental_equals_from_nothing(
        batches in prop::collection::vec(prop::collection::vec(change(), 1..4), 1..16),
        cluster in any::<bool>(),
        default_certificate in any::<bool>(),
        allow_external_name in any::<bool>(),
    ) {
        let mut settings = GoldenSettings::default().settings();
        settings.origin = if cluster { Origin::Cluster } else { Origin::Files };
        settings.allow_external_name = allow_external_name;
        settings.default_certificate = default_certificate.then(common::default_certificate);
        run(batches, &settings);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn with_l4_too(batches in prop::collection::vec(prop::collection::vec(l4_change(), 1..4), 1..16), cluster in any::<bool>()) {
        let mut settings = GoldenSettings::default().settings();
        settings.origin = if cluster { Origin::Cluster } else { Origin::Files };
        settings.l4 = true;
        run(batches, &settings);
    }
}

#[test]
fn a_certificate_in_two_secrets_survives_either() {
    let secret = |name: &str| {
        let (certificate, key) = &CERTIFICATES[0];
        let data = json!({"tls.crt": certificate, "tls.key": key});
        Step::Put(json!({"kind": "Secret", "metadata": {"namespace": "a", "name": name}, "stringData": data}))
    };
    let backend = json!({"service": {"name": "x", "port": {"number": 80}}});
    let spec = json!({"defaultBackend": backend, "tls": [{"hosts": ["foo.com"], "secretName": "y"}]});
    let ingress = Step::Put(json!({"kind": "Ingress", "metadata": {"namespace": "a", "name": "x"}, "spec": spec}));
    let delete = |name| Step::Delete(ObjectRef::new("Secret", "a", name));
    let steps = vec![ingress, secret("y"), secret("x"), delete("x"), secret("x"), delete("y"), delete("x")];
    run(steps.into_iter().map(|step| vec![step]).collect(), &GoldenSettings::default().settings());
}

#[test]
fn what_did_not_change_is_shared() {
    let yaml = std::fs::read_to_string(common::folder("golden/tls-sni-exact-and-wildcard/in.yaml")).unwrap();
    let settings = GoldenSettings::default().settings();
    let mut world = common::world(common::objects(&yaml), &settings);
    let dirty = world.take_dirty();
    let (before, _) = translate(&world, &settings, &Snapshot::default(), &dirty);

    common::objects(&yaml).into_iter().for_each(|object| world.apply(Change::Put(object)));
    assert!(world.take_dirty().is_empty(), "the same objects again make nothing dirty");

    let flip = common::object(json!({
        "kind": "EndpointSlice",
        "apiVersion": "discovery.k8s.io/v1",
        "metadata": {"namespace": "default", "name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"port": 8080}],
        "endpoints": [{"addresses": ["10.0.0.7"]}],
    }));
    world.apply(Change::Put(flip));
    let dirty = world.take_dirty();
    let (after, _) = translate(&world, &settings, &before, &dirty);
    assert_ne!(before.backends, after.backends);
    let (hosts, hosts_after) = (&before.route_sets["ingress"].hosts, &after.route_sets["ingress"].hosts);
    assert!(hosts.iter().all(|(host, part)| part.same(hosts_after.get(host).unwrap())));
    assert!(before.tls_sets.get("ingress").unwrap().same(after.tls_sets.get("ingress").unwrap()));
    assert!(before.certificates.iter().all(|(fingerprint, part)| part.same(after.certificates.get(fingerprint).unwrap())));
    assert!(before.listeners.iter().all(|(name, part)| part.same(after.listeners.get(name).unwrap())));

    let (again, _) = translate(&world, &settings, &after, &Dirty::all());
    assert_eq!(again, after);
    assert!(
        after.backends.iter().all(|(key, part)| part.same(again.backends.get(key).unwrap())),
        "equal parts are shared even so"
    );
}

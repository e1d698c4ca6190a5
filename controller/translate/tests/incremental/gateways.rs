//! The Gateway API's objects, in few names and on few ports, so that they meet.

use proptest::prelude::*;
use proptest::sample::select;
use rust_ingress_model::ObjectRef;
use rust_ingress_translate::Origin;
use serde_json::{Value, json};

use super::{CERTIFICATES, NAMES, NAMESPACES, Step, change, metadata, run, secret, service, slice};
use crate::common::GoldenSettings;

const HOSTS: &[&str] = &["foo.com", "a.foo.com", "*.foo.com", "*.com", "bad host"];

fn object(kind: &str, (namespace, name): (&str, &str), (day, generation): (u8, i64), spec: &Value) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": kind,
        "metadata": {"namespace": namespace, "name": name, "generation": generation,
            "creationTimestamp": format!("2026-01-0{day}T00:00:00Z")},
        "spec": spec,
    })
}

fn class() -> impl Strategy<Value = Value> {
    let controllers = vec!["rust-ingress.dev/gateway-controller", "example.com/other"];
    (select(vec!["rust-ingress", "other"]), select(controllers), parameters_ref()).prop_map(|(name, controller, parameters)| {
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": name},
            "spec": {"controllerName": controller, "parametersRef": parameters}})
    })
}

fn parameters_ref() -> impl Strategy<Value = Value> {
    prop::option::weighted(0.3, (select(NAMESPACES), select(NAMES))).prop_map(|named| match named {
        Some((namespace, name)) => {
            json!({"group": "rust-ingress.dev", "kind": "GatewayParameters", "namespace": namespace, "name": name})
        }
        None => Value::Null,
    })
}

fn parameters() -> impl Strategy<Value = Value> {
    let specs = select(vec![
        json!({}),
        json!({"proxyProtocol": true, "service": {"type": "ClusterIP"}}),
        json!({"defaults": {"maxBodyBytes": 5, "timeouts": {"request": "5s"}}}),
        json!({"defaults": {"timeouts": {"request": "soon"}}}),
    ]);
    (metadata(), specs).prop_map(|((namespace, name), spec)| {
        json!({"apiVersion": "rust-ingress.dev/v1alpha1", "kind": "GatewayParameters",
            "metadata": {"namespace": namespace, "name": name}, "spec": spec})
    })
}

fn listener(index: usize) -> impl Strategy<Value = Value> {
    let allowed = select(vec![
        json!({}),
        json!({"namespaces": {"from": "All"}}),
        json!({"namespaces": {"from": "Selector", "selector": {"matchLabels": {"team": "red"}}}}),
        json!({"kinds": [{"kind": "TCPRoute"}], "namespaces": {"from": "All"}}),
    ]);
    let tls = (select(NAMESPACES), select(NAMES))
        .prop_map(|(namespace, name)| json!({"certificateRefs": [{"name": name, "namespace": namespace}]}));
    let port = select(vec![8080_u16, 80, 443]);
    (prop::option::of(select(HOSTS)), port, select(vec!["HTTP", "HTTP", "HTTPS", "TCP"]), allowed, tls).prop_map(
        move |(host, port, protocol, allowed, tls)| {
            let tls = if protocol == "HTTPS" { tls } else { Value::Null };
            json!({"name": format!("l{index}"), "hostname": host, "port": port, "protocol": protocol, "tls": tls, "allowedRoutes": allowed})
        },
    )
}

fn gateway() -> impl Strategy<Value = Value> {
    let addresses = select(vec![json!([]), json!([]), json!([{"value": "127.0.0.2"}]), json!([{"type": "x/y", "value": "z"}])]);
    let listeners = (listener(0), listener(1), 1..3_usize).prop_map(|(one, two, count)| [one, two][..count].to_vec());
    let rest = (select(vec!["rust-ingress", "other"]), listeners, addresses, parameters_ref());
    (metadata(), (1..4_u8, 0..2_i64), rest).prop_map(|(name, age, (class, listeners, addresses, parameters))| {
        let infrastructure = json!({"parametersRef": parameters});
        let authority = json!({"group": "", "kind": "ConfigMap", "name": "x", "namespace": "b"});
        let clients =
            if age.0 == 1 { json!({"default": {"validation": {"caCertificateRefs": [authority]}}}) } else { Value::Null };
        let sets = json!({"namespaces": {"from": select_sets(age.0), "selector": {"matchLabels": {"team": "red"}}}});
        let shown = if age.1 == 0 { json!({"clientCertificateRef": {"name": "x", "namespace": "a"}}) } else { Value::Null };
        let tls = json!({"backend": shown, "frontend": clients});
        let spec = json!({"gatewayClassName": class, "listeners": listeners, "addresses": addresses,
            "infrastructure": infrastructure, "tls": tls, "allowedListeners": sets});
        object("Gateway", name, age, &spec)
    })
}

fn select_sets(day: u8) -> &'static str {
    match day {
        1 => "All",
        2 => "Selector",
        _ => "None",
    }
}

fn set() -> impl Strategy<Value = Value> {
    let parent = (select(NAMES), prop::option::of(select(NAMESPACES)))
        .prop_map(|(name, namespace)| json!({"name": name, "namespace": namespace}));
    let listeners = (listener(0), listener(1), 1..3_usize).prop_map(|(one, two, count)| [one, two][..count].to_vec());
    (metadata(), (1..4_u8, 0..2_i64), parent, listeners).prop_map(|(name, age, parent, listeners)| {
        object("ListenerSet", name, age, &json!({"parentRef": parent, "listeners": listeners}))
    })
}

fn route() -> impl Strategy<Value = Value> {
    let parent = (
        select(NAMES),
        prop::option::of(select(NAMESPACES)),
        prop::option::of(select(vec!["l0", "l1"])),
        prop::option::weighted(0.2, Just(80)),
    )
        .prop_map(|(name, namespace, section, port)| {
            let kind = if name == "z" { "ListenerSet" } else { "Gateway" };
            json!({"kind": kind, "name": name, "namespace": namespace, "sectionName": section, "port": port})
        });
    let backend = (select(NAMES), prop::option::of(select(NAMESPACES)), select(vec![80, 81]), select(vec!["Service", "Other"]))
        .prop_map(|(name, namespace, port, kind)| json!({"name": name, "namespace": namespace, "port": port, "kind": kind}));
    let rule = (select(vec!["/", "/x", "x"]), prop::collection::vec(backend, 0..3))
        .prop_map(|(path, backends)| json!({"matches": [{"path": {"value": path}}], "backendRefs": backends}));
    let hosts = prop::collection::vec(select(HOSTS), 0..3);
    (metadata(), (1..4_u8, 0..2_i64), prop::collection::vec(parent, 1..3), hosts, prop::collection::vec(rule, 0..3)).prop_map(
        |(name, age, parents, hosts, rules)| {
            object("HTTPRoute", name, age, &json!({"parentRefs": parents, "hostnames": hosts, "rules": rules}))
        },
    )
}

fn grpc_route() -> impl Strategy<Value = Value> {
    route().prop_map(|mut route| {
        route["kind"] = json!("GRPCRoute");
        for rule in route["spec"]["rules"].as_array_mut().unwrap() {
            rule["matches"] = json!([{"method": {"service": "a.B", "method": "C"}}]);
        }
        route
    })
}

fn grant() -> impl Strategy<Value = Value> {
    (metadata(), select(NAMESPACES), select(vec![("HTTPRoute", "Service"), ("Gateway", "Secret"), ("Gateway", "ConfigMap"), ("ListenerSet", "Secret")]), prop::option::of(select(NAMES)))
        .prop_map(|(name, from, (kind, to), only)| {
            let group = "gateway.networking.k8s.io";
            let spec = json!({"from": [{"group": group, "kind": kind, "namespace": from}], "to": [{"group": "", "kind": to, "name": only}]});
            object("ReferenceGrant", name, (1, 1), &spec)
        })
}

fn policy() -> impl Strategy<Value = Value> {
    let trust = select(vec![
        json!({"wellKnownCACertificates": "System", "hostname": "foo.com"}),
        json!({"caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "x"}], "hostname": "foo.com"}),
        json!({"hostname": "foo.com"}),
    ]);
    let target = (select(NAMES), prop::option::of(Just("http")))
        .prop_map(|(name, port)| json!({"group": "", "kind": "Service", "name": name, "sectionName": port}));
    let targets = prop::collection::vec(target, 1..3);
    (metadata(), (1..4_u8, 0..2_i64), targets, trust).prop_map(|(name, age, targets, trust)| {
        object("BackendTLSPolicy", name, age, &json!({"targetRefs": targets, "validation": trust}))
    })
}

fn authorities() -> impl Strategy<Value = Value> {
    (select(NAMESPACES), select(vec![0, 1, 3])).prop_map(|(namespace, which)| {
        json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"namespace": namespace, "name": "x"},
            "data": {"ca.crt": CERTIFICATES[which].0}})
    })
}

fn namespace() -> impl Strategy<Value = Value> {
    (select(NAMESPACES), select(vec!["red", "blue"])).prop_map(
        |(name, team)| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"team": team}}}),
    )
}

fn delete() -> impl Strategy<Value = Step> {
    let kinds = select(vec![
        "Gateway",
        "HTTPRoute",
        "HTTPRoute",
        "GRPCRoute",
        "ReferenceGrant",
        "GatewayParameters",
        "Service",
        "Secret",
        "BackendTLSPolicy",
        "ConfigMap",
        "ListenerSet",
    ]);
    prop_oneof![
        6 => (kinds, metadata()).prop_map(|(kind, (namespace, name))| Step::Delete(ObjectRef::new(kind, namespace, name))),
        1 => select(NAMESPACES).prop_map(|name| Step::Delete(ObjectRef::new("Namespace", "", name))),
        1 => select(vec!["rust-ingress", "other"]).prop_map(|name| Step::Delete(ObjectRef::new("GatewayClass", "", name))),
    ]
}

fn gateway_change() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => class().prop_map(Step::Put),
        6 => gateway().prop_map(Step::Put),
        8 => route().prop_map(Step::Put),
        4 => grpc_route().prop_map(Step::Put),
        2 => grant().prop_map(Step::Put),
        3 => policy().prop_map(Step::Put),
        3 => set().prop_map(Step::Put),
        2 => authorities().prop_map(Step::Put),
        1 => namespace().prop_map(Step::Put),
        2 => parameters().prop_map(Step::Put),
        3 => service().prop_map(Step::Put),
        1 => slice().prop_map(Step::Put),
        3 => secret().prop_map(Step::Put),
        4 => delete(),
        2 => change(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn with_gateways_too(
        batches in prop::collection::vec(prop::collection::vec(gateway_change(), 1..4), 1..24),
        cluster in any::<bool>(),
    ) {
        let mut settings = GoldenSettings::default().settings();
        settings.origin = if cluster { Origin::Cluster } else { Origin::Files };
        run(batches, &settings);
    }
}

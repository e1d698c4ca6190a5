//! A bad object poisons only itself: whatever one Ingress, Service, slice or Secret says, another Ingress is served as before.
//!
//! The snapshot also reads back as it was written, so that no text of a tenant breaks out of its place.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use common::GoldenSettings;
use proptest::prelude::*;
use proptest::sample::select;
use rust_ingress_model::{HostPattern, Snapshot};
use rust_ingress_translate::{Dirty, Settings, translate};
use serde_json::{Value, json};

/// Texts as an attacker, or a hurried editor, writes them.
fn text() -> impl Strategy<Value = String> {
    let known = [
        "",
        "/",
        "//",
        "/../",
        "/%2f",
        "/(",
        "/[",
        "*",
        "**.",
        "*.",
        "*.*.com",
        "good.com",
        "evil.com",
        "1.2.3.4",
        "::1",
        "a:80",
        "a+https",
        "a/b",
        "Prefix",
        "Exact",
        "ImplementationSpecific",
        "true",
        "0",
        "-1",
        "99999999999999999999",
        "1h1h1h",
        "\n",
        "\u{0}",
        "é",
    ];
    prop_oneof![4 => select(known.to_vec()).prop_map(str::to_owned), 1 => any::<String>(), 1 => "[a-z.*/:-]{0,300}"]
}

fn backend() -> impl Strategy<Value = Value> {
    let port =
        prop_oneof![any::<i32>().prop_map(|number| json!({"number": number})), text().prop_map(|name| json!({"name": name}))];
    prop_oneof![
        Just(json!({})),
        Just(json!({"resource": {"kind": "x", "name": "y"}})),
        (text(), prop::option::of(port)).prop_map(|(name, port)| json!({"service": {"name": name, "port": port}})),
    ]
}

fn ingress() -> impl Strategy<Value = Value> {
    let path =
        (text(), text(), backend()).prop_map(|(path, kind, backend)| json!({"path": path, "pathType": kind, "backend": backend}));
    // Its own hosts may be anything but the good one's, which it could conflict with as the older.
    let host = || text().prop_filter("another's host", |host| host != "good.com");
    let rule = (host(), prop::option::of(prop::collection::vec(path, 0..4)))
        .prop_map(|(host, paths)| json!({"host": host, "http": paths.map(|paths| json!({"paths": paths}))}));
    let tls = (prop::option::of(prop::collection::vec(host(), 0..3)), prop::option::of(text()))
        .prop_map(|(hosts, secret)| json!({"hosts": hosts, "secretName": secret}));
    let prefixes = ["rust-ingress.dev/", "nginx.ingress.kubernetes.io/", "kubernetes.io/"];
    let names = [
        "redirect-https",
        "max-body-size",
        "idle-timeout",
        "use-regex",
        "accept-unsupported",
        "proxy-body-size",
        "canary",
        "auth-url",
    ];
    let annotation = (select(prefixes.to_vec()), select(names.to_vec()), text())
        .prop_map(|(prefix, name, value)| (format!("{prefix}{name}"), Value::String(value)));
    let annotations = prop::collection::vec(annotation, 0..4).prop_map(|all| Value::Object(all.into_iter().collect()));
    (annotations, prop::collection::vec(rule, 0..4), prop::option::of(backend()), prop::collection::vec(tls, 0..4)).prop_map(
        |(annotations, rules, default, tls)| {
            json!({
                "kind": "Ingress",
                "metadata": {"namespace": "bad", "name": "bad", "annotations": annotations},
                "spec": {"rules": rules, "defaultBackend": default, "tls": tls},
            })
        },
    )
}

fn service() -> impl Strategy<Value = Value> {
    let port = (any::<i32>(), prop::option::of(text()), prop::option::of(text()))
        .prop_map(|(port, name, protocol)| json!({"port": port, "name": name, "appProtocol": protocol}));
    (prop::option::of(text()), prop::option::of(text()), prop::collection::vec(port, 0..3)).prop_map(|(kind, name, ports)| {
        json!({
            "kind": "Service",
            "metadata": {"namespace": "bad", "name": "bad"},
            "spec": {"type": kind, "externalName": name, "ports": ports},
        })
    })
}

fn slice() -> impl Strategy<Value = Value> {
    let endpoint = prop::collection::vec(text(), 0..3).prop_map(|addresses| json!({"addresses": addresses}));
    let port = (any::<Option<i32>>(), prop::option::of(text())).prop_map(|(port, name)| json!({"port": port, "name": name}));
    (text(), text(), prop::collection::vec(port, 0..3), prop::collection::vec(endpoint, 0..3)).prop_map(
        |(service, family, ports, endpoints)| {
            json!({
                "kind": "EndpointSlice",
                "metadata": {"namespace": "bad", "name": "bad", "labels": {"kubernetes.io/service-name": service}},
                "addressType": family,
                "ports": ports,
                "endpoints": endpoints,
            })
        },
    )
}

fn secret() -> impl Strategy<Value = Value> {
    let pem = || {
        prop_oneof![
            text(),
            any::<String>().prop_map(|body| format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----"))
        ]
    };
    (pem(), pem()).prop_map(|(certificate, key)| {
        let data = json!({"tls.crt": certificate, "tls.key": key});
        json!({"kind": "Secret", "metadata": {"namespace": "bad", "name": "bad"}, "stringData": data})
    })
}

fn good() -> Vec<Value> {
    let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
    let rules = json!([{"host": "good.com", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]);
    let labels = json!({"kubernetes.io/service-name": "web"});
    vec![
        json!({"kind": "Ingress", "metadata": {"namespace": "good", "name": "web"}, "spec": {"rules": rules}}),
        json!({"kind": "Service", "metadata": {"namespace": "good", "name": "web"}, "spec": {"ports": [{"port": 80}]}}),
        json!({
            "kind": "EndpointSlice",
            "metadata": {"namespace": "good", "name": "web", "labels": labels},
            "addressType": "IPv4", "ports": [{"port": 8080}], "endpoints": [{"addresses": ["10.0.0.1"]}],
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_bad_object_poisons_only_itself(bad in (ingress(), service(), slice(), secret())) {
        let settings = Settings { l4: true, ..GoldenSettings::default().settings() };
        let snapshot = |values: Vec<Value>| {
            let world = common::world(values.into_iter().map(common::object).collect(), &settings);
            translate(&world, &settings, &Snapshot::default(), &Dirty::all()).0
        };
        let alone = snapshot(good());
        let both = snapshot([good(), vec![bad.0, bad.1, bad.2, bad.3]].concat());
        let host = HostPattern::Exact("good.com".into());
        prop_assert_eq!(alone.route_sets["ingress"].hosts.get(&host), both.route_sets["ingress"].hosts.get(&host));
        for (key, backend) in alone.backends.iter() {
            prop_assert_eq!(backend, both.backends.get(key).unwrap());
        }
        prop_assert!(!both.faults().any(|fault| &*fault.object.namespace == "good"));
        let text = serde_json::to_string(&both).unwrap();
        let read: Snapshot = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(read, both);
    }
}

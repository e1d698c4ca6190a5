//! No guard is dropped silently: every guard of ingress-nginx, with and without the opt-in.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::collections::BTreeMap;

use common::GoldenSettings;
use rust_ingress_model::{Guard, ObjectRef, Reason, ReportKey, Snapshot, VerdictKind};
use rust_ingress_translate::{Dirty, translate};
use serde_json::json;

const NGINX: &str = "nginx.ingress.kubernetes.io/";

/// Every annotation of ingress-nginx 1.15.1 that guards, or may.
const GUARDS: &[&str] = &[
    "allowlist-source-range",
    "whitelist-source-range",
    "denylist-source-range",
    "satisfy",
    "auth-realm",
    "auth-secret",
    "auth-secret-type",
    "auth-type",
    "auth-tls-error-page",
    "auth-tls-match-cn",
    "auth-tls-pass-certificate-to-upstream",
    "auth-tls-secret",
    "auth-tls-verify-client",
    "auth-tls-verify-depth",
    "auth-always-set-cookie",
    "auth-cache-duration",
    "auth-cache-key",
    "auth-keepalive",
    "auth-keepalive-requests",
    "auth-keepalive-share-vars",
    "auth-keepalive-timeout",
    "auth-method",
    "auth-proxy-set-headers",
    "auth-request-redirect",
    "auth-response-headers",
    "auth-signin",
    "auth-signin-redirect-param",
    "auth-snippet",
    "auth-url",
    "enable-global-auth",
    "configuration-snippet",
    "server-snippet",
    "enable-modsecurity",
    "enable-owasp-core-rules",
    "modsecurity-snippet",
    "modsecurity-transaction-id",
    "proxy-ssl-secret",
    "proxy-ssl-verify",
    "limit-allowlist",
    "limit-whitelist",
    "limit-burst-multiplier",
    "limit-connections",
    "limit-rate",
    "limit-rate-after",
    "limit-rpm",
    "limit-rps",
];

/// A snapshot of one Ingress with a rule, a default backend and these annotations.
fn snapshot(annotations: &BTreeMap<String, String>) -> Snapshot {
    let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
    let ingress = common::object(json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "web", "namespace": "default", "annotations": annotations},
        "spec": {
            "defaultBackend": backend,
            "rules": [{"host": "foo.com", "http": {"paths": [{"path": "/x", "pathType": "Prefix", "backend": backend}]}}],
        },
    }));
    let settings = GoldenSettings::default().settings();
    translate(&common::world(vec![ingress], &settings), &settings, &Snapshot::default(), &Dirty::all()).0
}

/// The flags of the guards on every rule; all rules must have the same.
fn flags(snapshot: &Snapshot) -> Vec<String> {
    let hosts = &snapshot.route_sets["ingress"].hosts;
    let mut all = hosts
        .values()
        .flat_map(|host| &host.rules)
        .map(|rule| rule.guards.iter().map(|Guard::Unavailable { flag, .. }| flag.to_string()).collect::<Vec<_>>());
    let first = all.next().expect("a rule");
    let count = 1 + all.inspect(|other| assert_eq!(*other, first, "every rule has the guard")).count();
    assert_eq!(count, 3, "the rule, and the default backend on foo.com and on all hosts");
    first
}

fn verdict(snapshot: &Snapshot, annotation: &str) -> VerdictKind {
    let report = snapshot.reports.get(&ReportKey::Object(ObjectRef::new("Ingress", "default", "web"))).unwrap();
    report.verdicts.iter().find(|verdict| verdict.annotation == annotation).expect("a verdict").kind
}

#[test]
fn without_the_opt_in_the_routes_answer_503() {
    for name in GUARDS {
        let full = format!("{NGINX}{name}");
        let snapshot = snapshot(&[(full.clone(), "on".to_owned())].into());
        assert_eq!(flags(&snapshot), std::slice::from_ref(&full), "{name}");
        assert_eq!(verdict(&snapshot, &full), VerdictKind::Refused, "{name}");
        let faults: Vec<_> = snapshot.faults().filter(|fault| fault.reason == Reason::UnsupportedGuard).collect();
        assert_eq!(faults.len(), 1, "{name}");
        assert_eq!(faults[0].field, format!("metadata.annotations[\"{full}\"]"));
        assert!(faults[0].advice.contains(&format!("\"{name}\"")), "the advice names the opt-in: {}", faults[0].advice);
    }
}

#[test]
fn with_the_opt_in_the_routes_go_unguarded() {
    for name in GUARDS {
        let full = format!("{NGINX}{name}");
        for accepted in [(*name).to_owned(), format!("rewrite-target, {full}")] {
            let annotations = [(full.clone(), "on".to_owned()), ("rust-ingress.dev/accept-unsupported".to_owned(), accepted)];
            let snapshot = snapshot(&annotations.into());
            assert!(flags(&snapshot).is_empty(), "{name}");
            assert_eq!(verdict(&snapshot, &full), VerdictKind::Accepted, "{name}");
            assert!(snapshot.faults().all(|fault| fault.reason != Reason::UnsupportedGuard), "{name}");
        }
    }
}

#[test]
fn an_opt_in_for_one_guard_leaves_the_others() {
    for name in GUARDS.iter().filter(|name| **name != "auth-url") {
        let annotations = [
            (format!("{NGINX}{name}"), "on".to_owned()),
            (format!("{NGINX}auth-url"), "https://auth.example.org".to_owned()),
            ("rust-ingress.dev/accept-unsupported".to_owned(), "auth-url".to_owned()),
        ];
        assert_eq!(flags(&snapshot(&annotations.into())), [format!("{NGINX}{name}")], "{name}");
    }
}

#[test]
fn a_value_that_asks_for_nothing_is_no_guard() {
    let off = [
        ("enable-global-auth", "false"),
        ("enable-modsecurity", "false"),
        ("enable-owasp-core-rules", "false"),
        ("proxy-ssl-verify", "off"),
    ];
    for (name, value) in off {
        let full = format!("{NGINX}{name}");
        let snapshot = snapshot(&[(full.clone(), value.to_owned())].into());
        assert!(flags(&snapshot).is_empty(), "{name}");
        assert_eq!(verdict(&snapshot, &full), VerdictKind::NoEffect, "{name}");
    }
}

#[test]
fn what_guards_nothing_never_answers_503() {
    for name in ["rewrite-target", "affinity", "cors-allow-origin", "custom-headers", "upstream-vhost", "stream-snippet"] {
        let full = format!("{NGINX}{name}");
        let snapshot = snapshot(&[(full.clone(), "on".to_owned())].into());
        assert!(flags(&snapshot).is_empty(), "{name}");
        assert_eq!(verdict(&snapshot, &full), VerdictKind::Unsupported, "{name}");
    }
}

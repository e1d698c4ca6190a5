//! What Ingress v1 means, request by request: manifests in, and which Service takes host and path.
//!
//! The first two tables are those of the Ingress conformance suite (path_rules, host_rules); then what the API's text adds.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use common::GoldenSettings;
use rust_ingress_model::head::PlainHead;
use rust_ingress_model::{BackendRef, RouteIndex, Snapshot, precedence};
use rust_ingress_translate::{Dirty, Object, translate};
use serde_json::{Value, json};

/// An Ingress with rules `(host, path, pathType, Service)` and perhaps a default backend.
fn ingress(name: &str, rules: &[(&str, &str, &str, &str)], default: Option<&str>) -> Object {
    annotated(name, rules, default, &json!({}))
}

fn annotated(name: &str, rules: &[(&str, &str, &str, &str)], default: Option<&str>, annotations: &Value) -> Object {
    let backend = |service: &str| json!({"service": {"name": service, "port": {"number": 80}}});
    let rules: Vec<Value> = rules
        .iter()
        .map(|(host, path, kind, service)| {
            json!({"host": host, "http": {"paths": [{"path": path, "pathType": kind, "backend": backend(service)}]}})
        })
        .collect();
    common::object(json!({
        "kind": "Ingress",
        "metadata": {"namespace": "default", "name": name, "annotations": annotations},
        "spec": {"rules": rules, "defaultBackend": default.map(backend)},
    }))
}

/// Which Service takes each request `(host, path)`; `404` for none. The oracle and the index must agree.
fn assert_taken(ingresses: Vec<Object>, table: &[(&str, &str, &str)]) {
    let settings = GoldenSettings::default().settings();
    let (snapshot, _) = translate(&common::world(ingresses, &settings), &settings, &Snapshot::default(), &Dirty::all());
    let set = &snapshot.route_sets["ingress"];
    let index = RouteIndex::new(set, None);
    for (host, path, expected) in table {
        let head = PlainHead { method: "GET", host, path, ..PlainHead::default() };
        let found = precedence::find(set, &head);
        assert_eq!(found, index.find(&head), "{host}{path}");
        let taken = found.map_or("404".to_owned(), |found| match &found.rule.backends[0].backend {
            BackendRef::Service(key) => key.service.to_string(),
            BackendRef::Fail { status, .. } => status.to_string(),
        });
        assert_eq!(taken, *expected, "{host}{path}");
    }
}

#[test]
fn path_rules_of_the_conformance_suite() {
    let rules = [
        ("exact-path-rules", "/foo", "Exact", "foo-exact"),
        ("prefix-path-rules", "/foo", "Prefix", "foo-prefix"),
        ("prefix-path-rules", "/aaa/bbb", "Prefix", "aaa-slash-bbb-prefix"),
        ("prefix-path-rules", "/aaa", "Prefix", "aaa-prefix"),
        ("mixed-path-rules", "/foo", "Prefix", "foo-prefix"),
        ("mixed-path-rules", "/foo", "Exact", "foo-exact"),
        ("trailing-slash-path-rules", "/aaa/bbb/", "Prefix", "aaa-slash-bbb-slash-prefix"),
        ("trailing-slash-path-rules", "/foo/", "Exact", "foo-slash-exact"),
    ];
    let table = [
        ("exact-path-rules", "/foo", "foo-exact"),
        ("exact-path-rules", "/foo/", "404"),
        ("exact-path-rules", "/FOO", "404"),
        ("exact-path-rules", "/bar", "404"),
        ("prefix-path-rules", "/foo", "foo-prefix"),
        ("prefix-path-rules", "/foo/", "foo-prefix"),
        ("prefix-path-rules", "/FOO", "404"),
        ("prefix-path-rules", "/aaa/bbb", "aaa-slash-bbb-prefix"),
        ("prefix-path-rules", "/aaa/bbb/ccc", "aaa-slash-bbb-prefix"),
        ("prefix-path-rules", "/aaa/ccc", "aaa-prefix"),
        ("prefix-path-rules", "/aaaccc", "404"),
        ("mixed-path-rules", "/foo", "foo-exact"),
        ("trailing-slash-path-rules", "/aaa/bbb", "aaa-slash-bbb-slash-prefix"),
        ("trailing-slash-path-rules", "/aaa/bbb/", "aaa-slash-bbb-slash-prefix"),
        ("trailing-slash-path-rules", "/foo", "404"),
        ("trailing-slash-path-rules", "/foo/", "foo-slash-exact"),
    ];
    assert_taken(vec![ingress("path-rules", &rules, None)], &table);
}

#[test]
fn host_rules_of_the_conformance_suite() {
    let rules = [("*.foo.com", "/", "Prefix", "wildcard-foo-com"), ("foo.bar.com", "/", "Prefix", "foo-bar-com")];
    let table = [
        ("foo.bar.com", "/", "foo-bar-com"),
        ("subdomain.bar.com", "/", "404"),
        ("bar.foo.com", "/", "wildcard-foo-com"),
        ("baz.bar.foo.com", "/", "404"),
        ("foo.com", "/", "404"),
    ];
    assert_taken(vec![ingress("host-rules", &rules, None)], &table);
}

#[test]
fn an_exact_host_comes_before_a_wildcard_and_a_wildcard_before_none() {
    let rules = [("", "/", "Prefix", "any"), ("*.foo.com", "/", "Prefix", "wildcard"), ("a.foo.com", "/x", "Prefix", "exact")];
    let table = [
        ("a.foo.com", "/x/y", "exact"),
        ("a.foo.com", "/y", "404"),
        ("b.foo.com", "/x", "wildcard"),
        ("a.b.foo.com", "/x", "any"),
        ("", "/", "any"),
    ];
    assert_taken(vec![ingress("hosts", &rules, None)], &table);
}

#[test]
fn a_default_backend_takes_what_matches_no_rule() {
    let rules = [("foo.com", "/x", "Prefix", "x"), ("bar.com", "/", "Prefix", "bar")];
    let table = [("foo.com", "/x", "x"), ("foo.com", "/y", "default"), ("bar.com", "/y", "bar"), ("other.com", "/", "default")];
    assert_taken(vec![ingress("web", &rules, Some("default"))], &table);
}

#[test]
fn a_rule_of_any_age_stands_before_a_default_backend() {
    let old = ingress("a", &[("foo.com", "/x", "Prefix", "x")], Some("default"));
    let new = ingress("b", &[("foo.com", "/", "Prefix", "root"), ("", "/", "Prefix", "any")], None);
    assert_taken(vec![old, new], &[("foo.com", "/y", "root"), ("foo.com", "/x", "x"), ("other.com", "/", "any")]);
}

#[test]
fn merged_ingresses_keep_the_precedence_of_paths() {
    let old = ingress("a", &[("foo.com", "/", "Prefix", "a-root"), ("foo.com", "/x", "Prefix", "a-x")], None);
    let new = ingress(
        "b",
        &[("foo.com", "/x/y", "Prefix", "b-xy"), ("foo.com", "/x", "Exact", "b-x"), ("foo.com", "/", "Prefix", "b")],
        None,
    );
    let table = [("foo.com", "/x", "b-x"), ("foo.com", "/x/", "a-x"), ("foo.com", "/x/y/z", "b-xy"), ("foo.com", "/z", "a-root")];
    assert_taken(vec![new, old], &table);
}

#[test]
fn a_regular_expression_is_for_the_whole_path_and_only_where_asked_for() {
    let rules = [
        ("foo.com", "/v[0-9]+", "ImplementationSpecific", "regex"),
        ("foo.com", "/v1", "Exact", "exact"),
        ("foo.com", "/", "Prefix", "root"),
    ];
    let on = annotated("web", &rules, None, &json!({"rust-ingress.dev/use-regex": "true"}));
    let table =
        [("foo.com", "/v1", "exact"), ("foo.com", "/v12", "regex"), ("foo.com", "/v12/x", "root"), ("foo.com", "/V12", "root")];
    assert_taken(vec![on], &table);
    assert_taken(vec![ingress("web", &rules, None)], &[("foo.com", "/v12", "root"), ("foo.com", "/v[0-9]+/x", "regex")]);
}

#[test]
fn what_cannot_be_read_does_not_fall_to_a_shorter_path() {
    let rules = [("foo.com", "/", "Prefix", "root"), ("foo.com", "/admin", "Prefix", "Not_A_Service")];
    assert_taken(vec![ingress("web", &rules, None)], &[("foo.com", "/admin/x", "503"), ("foo.com", "/x", "root")]);
}

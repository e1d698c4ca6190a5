//! The fast index against the linear search, and the rules of precedence by their names.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use proptest::prelude::*;
use rust_ingress_model::digest::Part;
use rust_ingress_model::head::PlainHead;
use rust_ingress_model::route::{TextMatch, ValueMatch};
use rust_ingress_model::{
    HostPattern, ObjectRef, PathMatch, RouteIndex, RouteMatch, RouteSet, Rule, Snapshot, Timeouts, VirtualHost, precedence,
};

fn rule(name: &str, matches: Vec<RouteMatch>) -> Rule {
    Rule {
        source: ObjectRef::new("Ingress", "default", name),
        field: "spec.rules[0]".into(),
        matches,
        filters: vec![],
        guards: vec![],
        backends: vec![],
        timeouts: Timeouts::default(),
        retry: None,
        persistence: None,
        max_body: None,
    }
}

fn set(hosts: Vec<(HostPattern, Vec<Rule>)>) -> RouteSet {
    let part = |(host, rules): (HostPattern, _)| (host.clone(), Part::new(VirtualHost { host, rules }));
    RouteSet { hosts: hosts.into_iter().map(part).collect() }
}

fn source(set: &RouteSet, host: &str, path: &str) -> Option<String> {
    let head = PlainHead { method: "GET", host, path, ..Default::default() };
    let fast = RouteIndex::new(set, None).find(&head).map(|f| f.rule.source.name.to_string());
    assert_eq!(fast, precedence::find(set, &head).map(|f| f.rule.source.name.to_string()));
    fast
}

fn paths(list: &[(&str, PathMatch)]) -> RouteSet {
    let rules = list.iter().map(|(name, path)| rule(name, vec![RouteMatch::path(path.clone())])).collect();
    set(vec![(HostPattern::Any, rules)])
}

#[test]
fn prefix_matches_element_by_element() {
    let set = paths(&[("p", PathMatch::Prefix("/aaa/bbb".into()))]);
    assert_eq!(source(&set, "x", "/aaa/bbb").as_deref(), Some("p"));
    assert_eq!(source(&set, "x", "/aaa/bbb/").as_deref(), Some("p"));
    assert_eq!(source(&set, "x", "/aaa/bbb/ccc").as_deref(), Some("p"));
    assert_eq!(source(&set, "x", "/aaa/bbbc"), None);
    assert_eq!(source(&set, "x", "/AAA/bbb"), None);
}

#[test]
fn of_two_prefixes_that_differ_in_the_trailing_slash_the_longer_wins() {
    let set = paths(&[("short", PathMatch::Prefix("/foo".into())), ("long", PathMatch::Prefix("/foo/".into()))]);
    assert_eq!(source(&set, "x", "/foo").as_deref(), Some("long"));
    assert_eq!(source(&set, "x", "/foo/").as_deref(), Some("long"));
}

#[test]
fn exact_wins_over_prefix_and_keeps_its_slash() {
    let set = paths(&[("prefix", PathMatch::Prefix("/foo".into())), ("exact", PathMatch::Exact("/foo".into()))]);
    assert_eq!(source(&set, "x", "/foo").as_deref(), Some("exact"));
    assert_eq!(source(&set, "x", "/foo/").as_deref(), Some("prefix"));
}

#[test]
fn an_exact_host_wins_over_a_wildcard_and_does_not_fall_through() {
    let one = |name: &str, path: &str| vec![rule(name, vec![RouteMatch::path(PathMatch::Prefix(path.into()))])];
    let set = set(vec![
        (HostPattern::Any, one("any", "/")),
        (HostPattern::OneLabel("foo.com".into()), one("wildcard", "/")),
        (HostPattern::Exact("bar.foo.com".into()), one("exact", "/only")),
    ]);
    assert_eq!(source(&set, "bar.foo.com", "/only").as_deref(), Some("exact"));
    assert_eq!(source(&set, "bar.foo.com", "/"), None);
    assert_eq!(source(&set, "qux.foo.com", "/").as_deref(), Some("wildcard"));
    assert_eq!(source(&set, "baz.bar.foo.com", "/").as_deref(), Some("any"));
    assert_eq!(source(&set, "foo.com", "/").as_deref(), Some("any"));
}

#[test]
fn a_snapshot_survives_json() {
    let mut snapshot = Snapshot::default();
    snapshot.route_sets.insert("ingress".into(), paths(&[("p", PathMatch::Regex("/x.*".into()))]));
    let back: Snapshot = serde_json::from_str(&serde_json::to_string(&snapshot).unwrap()).unwrap();
    assert_eq!(back, snapshot);
    assert_eq!(back.digest(), snapshot.digest());
}

fn segment() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "ab", ""]).prop_map(String::from)
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(segment(), 0..4).prop_map(|s| format!("/{}", s.join("/")))
}

fn path_match() -> impl Strategy<Value = PathMatch> {
    prop_oneof![
        3 => path().prop_map(|p| PathMatch::Exact(p.into())),
        6 => path().prop_map(|p| PathMatch::Prefix(p.into())),
        1 => path().prop_map(|p| PathMatch::LastElement(p.rsplit('/').next().unwrap().into())),
        1 => path().prop_map(|p| PathMatch::Regex(format!("{p}.*b?").into())),
    ]
}

fn route_match() -> impl Strategy<Value = RouteMatch> {
    let method = prop::option::weighted(0.2, prop::sample::select(vec!["GET", "POST"]));
    let header = prop::collection::vec(prop::sample::select(vec!["1", "2"]), 0..2);
    (path_match(), method, header, prop::option::weighted(0.1, Just(80))).prop_map(|(path, method, header, port)| RouteMatch {
        path,
        method: method.map(Into::into),
        headers: header.iter().map(|v| ValueMatch { name: "x-v".into(), value: TextMatch::Exact((*v).into()) }).collect(),
        query: vec![],
        port,
    })
}

fn host_pattern() -> impl Strategy<Value = HostPattern> {
    prop::sample::select(vec!["a.b", "x.a.b", "*.a.b", "**.a.b", "**.b", "*.b", "*"]).prop_map(|t| t.parse().unwrap())
}

fn route_set() -> impl Strategy<Value = RouteSet> {
    let rules = prop::collection::vec(prop::collection::vec(route_match(), 1..3), 1..16);
    prop::collection::btree_map(host_pattern(), rules, 1..5).prop_map(|hosts| {
        let named = |rules: Vec<Vec<RouteMatch>>| rules.into_iter().enumerate().map(|(i, m)| rule(&i.to_string(), m)).collect();
        set(hosts.into_iter().map(|(host, rules)| (host, named(rules))).collect())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_index_finds_what_the_linear_search_finds(
        old in route_set(), set in route_set(), path in path(),
        host in prop::sample::select(vec!["a.b", "x.a.b", "y.a.b", "y.x.a.b", "b", "c", ".a.b"]),
        method in prop::sample::select(vec!["GET", "POST", "PUT"]), value in prop::option::of(prop::sample::select(vec!["1", "2"])),
    ) {
        let headers = value.map(|v| ("x-v", v)).into_iter().collect();
        let head = PlainHead { method, host, path: &path, query: None, port: 80, headers };
        let fresh = RouteIndex::new(&set, None);
        let updated = RouteIndex::new(&set, Some(&RouteIndex::new(&old, None)));
        let expected = precedence::find(&set, &head);
        prop_assert_eq!(fresh.find(&head), expected);
        prop_assert_eq!(updated.find(&head), expected);
        prop_assert_eq!(updated.find_through(&head), precedence::find_through(&set, &head));
    }
}

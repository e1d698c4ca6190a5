//! The largest route that the API takes: 16 rules of 64 matches. Each match leads to its own rule, and none is lost.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use common::GoldenSettings;
use rust_ingress_model::head::PlainHead;
use rust_ingress_model::{HostPattern, RouteIndex, Snapshot};
use rust_ingress_translate::{Dirty, translate};
use serde_json::{Value, json};

const RULES: usize = 16;
const MATCHES: usize = 64;

fn get(path: &str) -> PlainHead<'_> {
    PlainHead { method: "GET", host: "any.test", path, ..PlainHead::default() }
}

#[test]
fn sixteen_rules_of_sixty_four_matches_all_lead_somewhere() {
    let rules: Vec<Value> = (0..RULES)
        .map(|rule| {
            let matches = (0..MATCHES).map(|one| json!({"path": {"type": "Exact", "value": format!("/{rule}/{one}")}}));
            json!({"matches": matches.collect::<Vec<_>>(), "backendRefs": [{"name": "web", "port": 80}]})
        })
        .collect();
    let gateway = json!({"kind": "Gateway", "metadata": {"name": "web", "namespace": "shop"}, "spec":
        {"gatewayClassName": "rust-ingress", "listeners": [{"name": "http", "port": 9000, "protocol": "HTTP"}]}});
    let route = json!({"kind": "HTTPRoute", "metadata": {"name": "large", "namespace": "shop"},
        "spec": {"parentRefs": [{"name": "web"}], "rules": rules}});
    let settings = GoldenSettings::default().settings();
    let mut world = common::world(vec![common::object(gateway), common::object(route)], &settings);
    drop(world.take_dirty());
    let (snapshot, _) = translate(&world, &settings, &Snapshot::default(), &Dirty::all());
    let set = snapshot.route_sets.get("gateway/shop/web/http").expect("the listener's routes");
    assert_eq!(set.hosts.get(&HostPattern::Any).expect("its host").rules.len(), RULES);
    let index = RouteIndex::new(set, None);
    for (rule, one) in (0..RULES).flat_map(|rule| (0..MATCHES).map(move |one| (rule, one))) {
        let found = index.find(&get(&format!("/{rule}/{one}"))).expect("a rule");
        assert_eq!(&*found.rule.field, format!("spec.rules[{rule}]"), "{one}");
    }
    assert!(index.find(&get("/16/0")).is_none());
}

//! Who gets which address: what is kept, asked for, shared, left out, and refused.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::serde_json::{Value, from_value, json};
use rust_ingress_model::ObjectRef;

use crate::dirty::Dirty;
use crate::object::{Change, Object};
use crate::pool::AddressPool;
use crate::settings::{Origin, Settings};
use crate::translate::translate;
use crate::world::World;

/// A pool of `kind: AddressPool` with these addresses.
fn pool(name: &str, addresses: &[&str]) -> Value {
    json!({"metadata": {"name": name}, "spec": {"addresses": addresses}})
}

/// A Service of our class. A name with a number behind it is that many seconds old.
fn service(name: &str, more: &Value) -> Value {
    let mut spec = json!({"type": "LoadBalancer", "loadBalancerClass": "rust-ingress.dev/pool", "clusterIP": "10.96.0.1",
        "ipFamilies": ["IPv4"], "ports": [{"port": 80}]});
    for (field, value) in more["spec"].as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    json!({"metadata": {"namespace": "shop", "name": name, "annotations": more["annotations"], "labels": more["labels"],
            "finalizers": more["finalizers"], "deletionTimestamp": more["deletionTimestamp"]},
        "spec": spec, "status": {"loadBalancer": {"ingress": more["has"]}}})
}

fn world(pools: &[Value], services: &[Value], origin: Origin) -> World {
    let settings = Settings { l4: true, origin, ..Settings::default() };
    let mut world = World::new(&settings);
    let pools = pools.iter().map(|one| Object::AddressPool(Box::new(from_value::<AddressPool>(one.clone()).unwrap())));
    let services = services.iter().map(|one| Object::Service(Box::new(from_value::<Service>(one.clone()).unwrap())));
    pools.chain(services).for_each(|object| world.apply(Change::Put(object)));
    world
}

/// Who gets what, a line each; with the reasons of what is wrong.
fn given(pools: &[Value], services: &[Value]) -> String {
    let mut world = world(pools, services, Origin::Cluster);
    drop(world.take_dirty());
    let mut text = String::new();
    for one in services {
        let object = ObjectRef::new("Service", "shop", one["metadata"]["name"].as_str().unwrap());
        let addresses = &world.l4.as_ref().unwrap().addresses;
        let got = addresses.given(&object).map(|list| list.iter().map(ToString::to_string).collect::<Vec<_>>().join("+"));
        let faults: String = addresses.claim_faults(&object).iter().map(|fault| format!(" {}", fault.reason)).collect();
        write!(text, "{} {}{faults}; ", object.name, got.unwrap_or_else(|| "-".into())).unwrap();
    }
    text.trim_end_matches("; ").to_owned()
}

const TWO: &[&str] = &["192.0.2.10-192.0.2.11"];

#[test]
fn the_lowest_free_one_by_name_and_then_none() {
    let services = ["c", "a", "b"].map(|name| service(name, &json!({})));
    assert_eq!(given(&[pool("p", TWO)], &services), "c  PoolExhausted; a 192.0.2.10; b 192.0.2.11");
    assert_eq!(given(&[], &services[..1]), "c  PoolExhausted");
    assert_eq!(given(&[pool("p", &["192.0.2.0/30"])], &services), "c  PoolExhausted; a 192.0.2.1; b 192.0.2.2");
}

#[test]
fn what_stands_in_status_stays_while_it_may() {
    let b = service("b", &json!({"has": [{"ip": "192.0.2.10"}]}));
    let a = service("a", &json!({}));
    assert_eq!(given(&[pool("p", TWO)], &[a.clone(), b.clone()]), "a 192.0.2.11; b 192.0.2.10");
    let c = service("c", &json!({"has": [{"ip": "192.0.2.10"}]}));
    assert_eq!(given(&[pool("p", TWO)], &[b, c]), "b 192.0.2.10; c 192.0.2.11", "of two the first by name");
    let moved =
        service("d", &json!({"has": [{"ip": "192.0.2.10"}], "annotations": {"rust-ingress.dev/addresses": "192.0.2.11"}}));
    assert_eq!(given(&[pool("p", TWO)], &[a, moved]), "a 192.0.2.10; d 192.0.2.11", "asks for another one now");
}

#[test]
fn what_is_asked_for_goes_before_what_is_not() {
    let a = service("a", &json!({}));
    let field = service("z", &json!({"spec": {"loadBalancerIP": "192.0.2.10"}}));
    assert_eq!(given(&[pool("p", TWO)], &[a.clone(), field]), "a 192.0.2.11; z 192.0.2.10");
    let asks = |name: &str, text: &str| service(name, &json!({"annotations": {"rust-ingress.dev/addresses": text}}));
    assert_eq!(given(&[pool("p", TWO)], &[asks("y", "192.0.2.10"), asks("z", "192.0.2.10")]), "y 192.0.2.10; z  Conflict");
    assert_eq!(given(&[pool("p", TWO)], &[asks("y", "192.0.2.99")]), "y  AddressNotInPool");
    assert_eq!(given(&[pool("p", TWO)], &[asks("y", "x")]), "y 192.0.2.10 InvalidValue");
    assert_eq!(given(&[pool("p", TWO)], &[asks("y", "2001:db8::1")]), "y 192.0.2.10 InvalidValue");
}

#[test]
fn families_as_the_service_has_them() {
    let dual = |policy: &str| service("a", &json!({"spec": {"ipFamilies": ["IPv6", "IPv4"], "ipFamilyPolicy": policy}}));
    let both = pool("p", &["192.0.2.10", "2001:db8::10"]);
    assert_eq!(given(std::slice::from_ref(&both), &[dual("RequireDualStack")]), "a 192.0.2.10+2001:db8::10");
    assert_eq!(given(&[pool("p", TWO)], &[dual("PreferDualStack")]), "a 192.0.2.10");
    assert_eq!(given(&[pool("p", TWO)], &[dual("RequireDualStack")]), "a  PoolExhausted PoolExhausted");
    let taken = service("0", &json!({"spec": {"ipFamilies": ["IPv6"]}}));
    assert_eq!(given(&[both], &[dual("PreferDualStack"), taken]), "a 192.0.2.10 PoolExhausted; 0 2001:db8::10");
}

#[test]
fn one_address_is_shared_only_by_those_that_both_say_so() {
    let shares = |name: &str, key: &str, port: u16| {
        service(name, &json!({"annotations": {"rust-ingress.dev/share-address": key}, "spec": {"ports": [{"port": port}]}}))
    };
    let one = pool("p", &["192.0.2.10"]);
    let one = std::slice::from_ref(&one);
    assert_eq!(given(one, &[shares("a", "k", 80), shares("b", "k", 443)]), "a 192.0.2.10; b 192.0.2.10");
    assert_eq!(given(one, &[shares("a", "k", 80), shares("b", "k", 80)]), "a 192.0.2.10; b  PoolExhausted");
    assert_eq!(given(one, &[shares("a", "k", 80), shares("b", "l", 443)]), "a 192.0.2.10; b  PoolExhausted");
    assert_eq!(given(one, &[service("a", &json!({})), shares("b", "k", 443)]), "a 192.0.2.10; b  PoolExhausted");
}

#[test]
fn one_that_names_a_pool_gets_nothing_of_another() {
    let of = |name: &str| service("a", &json!({"annotations": {"rust-ingress.dev/address-pool": name}}));
    let pools = [pool("p", &["192.0.2.10"]), pool("q", &["192.0.2.20"])];
    assert_eq!(given(&pools, &[of("q")]), "a 192.0.2.20");
    assert_eq!(given(&pools, &[of("r")]), "a  PoolExhausted");
}

#[test]
fn others_are_left_alone() {
    let classless = |has: &Value| service("a", &json!({"spec": {"loadBalancerClass": null}, "has": has}));
    let mut default = pool("p", TWO);
    assert_eq!(given(&[default.clone()], &[classless(&json!([]))]), "a -", "no pool is the default");
    default["spec"]["default"] = json!(true);
    let pools = [default];
    assert_eq!(given(&pools, &[classless(&json!([]))]), "a 192.0.2.10");
    assert_eq!(given(&pools, &[classless(&json!([{"ip": "198.51.100.1"}]))]), "a -", "a cloud's");
    assert_eq!(given(&pools, &[classless(&json!([{"hostname": "lb.example"}]))]), "a -", "a cloud's");
    assert_eq!(given(&pools, &[service("a", &json!({"spec": {"loadBalancerClass": "metallb"}}))]), "a -");
    assert_eq!(given(&pools, &[service("a", &json!({"spec": {"type": "NodePort", "loadBalancerClass": null}}))]), "a -");
}

#[test]
fn pools_choose_by_namespace_and_label() {
    let mut narrow = pool("a", &["192.0.2.1"]);
    narrow["spec"]["namespaces"] = json!(["other"]);
    let mut labelled = pool("b", &["192.0.2.2"]);
    labelled["spec"]["serviceSelector"] = json!({"matchLabels": {"tier": "front"}});
    let pools = [narrow, labelled, pool("c", &["192.0.2.3"])];
    let services = [service("x", &json!({})), service("y", &json!({"labels": {"tier": "front"}}))];
    assert_eq!(given(&pools, &services), "x 192.0.2.3; y 192.0.2.2");
}

#[test]
fn pools_that_overlap_and_nonsense_are_faults() {
    let pools = [pool("a", &["192.0.2.0/24", "x"]), pool("b", &["192.0.2.7", "192.0.3.0/24"])];
    let mut world = world(&pools, &[], Origin::Cluster);
    drop(world.take_dirty());
    let (snapshot, _) = translate(&world, &Settings { l4: true, ..Settings::default() }, &Default::default(), &Dirty::all());
    let faults: BTreeMap<_, _> =
        snapshot.faults().map(|fault| (fault.object.name.to_string(), fault.reason.to_string())).collect();
    assert_eq!(faults, [("a".into(), "InvalidValue".into()), ("b".into(), "Conflict".into())].into());
    assert_eq!(snapshot.pools["b"].ranges.iter().map(ToString::to_string).collect::<Vec<_>>(), ["192.0.3.1-192.0.3.254"]);
}

#[test]
fn in_a_folder_it_is_served_at_once_and_in_a_cluster_as_status_says() {
    let pools = [pool("p", TWO)];
    for (origin, expected) in [(Origin::Files, "192.0.2.10"), (Origin::Cluster, "")] {
        let settings = Settings { l4: true, origin, ..Settings::default() };
        let mut world = world(&pools, &[service("a", &json!({}))], origin);
        drop(world.take_dirty());
        let (snapshot, plan) = translate(&world, &settings, &Default::default(), &Dirty::all());
        let object = ObjectRef::new("Service", "shop", "a");
        let served = &snapshot.services.get(&object).unwrap().load_balancer_ips;
        assert_eq!(served.iter().map(ToString::to_string).collect::<String>(), expected);
        assert!(plan.objects[&object].as_ref().unwrap().conditions[0].status);
    }
}

#[test]
fn one_that_goes_gives_its_address_back() {
    let has = json!([{"ip": "192.0.2.10"}]);
    let finalizers = json!(["service.kubernetes.io/load-balancer-cleanup"]);
    let going = json!({"has": has, "finalizers": finalizers, "deletionTimestamp": "2026-01-01T00:00:00Z"});
    let services = [service("a", &going), service("b", &json!({}))];
    assert_eq!(given(&[pool("p", &["192.0.2.10"])], &services), "a -; b 192.0.2.10");
}

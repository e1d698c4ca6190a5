//! What is written, in which order, and what isn't.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::cell::RefCell;

use k8s_openapi::api::networking::v1::IngressLoadBalancerIngress;

use super::*;

/// A cluster of Ingresses, by name.
#[derive(Default)]
struct Cluster(RefCell<BTreeMap<ObjectRef, SeenIngress>>);

impl Look for Cluster {
    fn ingress(&self, object: &ObjectRef) -> Option<SeenIngress> {
        self.0.borrow().get(object).cloned()
    }
    fn service(&self, _: &ObjectRef) -> Option<SeenService> {
        None
    }
    fn version(&self, object: &ObjectRef) -> Option<String> {
        self.0.borrow().get(object).map(|ingress| ingress.resource_version.clone())
    }
}

impl Cluster {
    fn put(&self, name: &str, version: &str, ips: &[&str]) {
        let entry = |ip: &&str| IngressLoadBalancerIngress { ip: Some((*ip).into()), ..Default::default() };
        let addresses = ips.iter().map(entry).collect();
        let ingress = SeenIngress { uid: "u".into(), resource_version: version.into(), addresses };
        self.0.borrow_mut().insert(object(name), ingress);
    }
}

fn object(name: &str) -> ObjectRef {
    ObjectRef::new("Ingress", "default", name)
}

fn plan(whole: bool, objects: &[(&str, bool)]) -> StatusPlan {
    let status = ObjectStatus { generation: 1, addresses: true, ..ObjectStatus::default() };
    let objects = objects.iter().map(|(name, ours)| (object(name), ours.then(|| status.clone()))).collect();
    StatusPlan { whole, objects }
}

fn addresses(list: &[&str]) -> Arc<[Address]> {
    list.iter().map(|text| text.parse().unwrap()).collect()
}

const OURS: &str = "192.0.2.1";

/// A desk that publishes [`OURS`] on one Ingress `a`, at version 1.
fn desk(ips: &[&str]) -> (Desk, Cluster, Instant) {
    let (mut desk, cluster, now) = (Desk::default(), Cluster::default(), Instant::now());
    cluster.put("a", "1", ips);
    desk.publish(Some(addresses(&[OURS])));
    desk.plan(plan(true, &[("a", true)]), now);
    (desk, cluster, now)
}

/// The next write, which must be there: the object's name, the version and the addresses.
fn written(desk: &mut Desk, cluster: &Cluster, now: Instant) -> (String, String, String) {
    match desk.next(cluster, now) {
        Next::Write(object, Write::Publish { version, addresses }) => {
            let list: Vec<String> = addresses.iter().map(Address::to_string).collect();
            (object.name.to_string(), version, list.join(" "))
        }
        other => panic!("{other:?}"),
    }
}

fn publishes(version: &str, list: &str) -> (String, String, String) {
    ("a".into(), version.into(), list.into())
}

#[test]
fn what_stands_there_already_is_not_written() {
    let (mut desk, cluster, now) = desk(&[OURS]);
    assert_eq!(desk.next(&cluster, now), Next::Wait(None));
    desk.sweep();
    assert_eq!(desk.next(&cluster, now), Next::Wait(None));
}

#[test]
fn an_ingress_of_ours_gets_our_list_whatever_stood_there() {
    let (mut desk, cluster, now) = desk(&["198.51.100.1", OURS]);
    assert_eq!(written(&mut desk, &cluster, now), publishes("1", OURS));
    desk.done(&object("a"), Outcome::Done(Some("2".into())), &cluster, now);
    assert_eq!(desk.next(&cluster, now), Next::Wait(None), "the watch has yet to bring it");
    desk.sweep();
    assert_eq!(desk.next(&cluster, now), Next::Wait(None));
    cluster.put("a", "2", &[OURS]);
    desk.sweep();
    assert_eq!(desk.next(&cluster, now), Next::Wait(None));
}

#[test]
fn nothing_is_written_before_the_addresses_are_known() {
    let (mut desk, cluster, now) = desk(&[]);
    desk.publish(None);
    assert_eq!(desk.next(&cluster, now), Next::Wait(None));
    desk.publish(Some(addresses(&[OURS, "2001:db8::1"])));
    assert_eq!(written(&mut desk, &cluster, now), publishes("1", "192.0.2.1 2001:db8::1"));
}

#[test]
fn addresses_that_change_in_flight_are_written_after_it_on_the_version_it_made() {
    let (mut desk, cluster, now) = desk(&[]);
    written(&mut desk, &cluster, now);
    desk.publish(Some(addresses(&["192.0.2.2"])));
    assert_eq!(desk.next(&cluster, now), Next::Wait(None), "one write at a time");
    desk.done(&object("a"), Outcome::Done(Some("2".into())), &cluster, now);
    assert_eq!(written(&mut desk, &cluster, now), publishes("2", "192.0.2.2"));
    desk.done(&object("a"), Outcome::Done(Some("3".into())), &cluster, now);
    desk.sweep();
    assert_eq!(desk.next(&cluster, now), Next::Wait(None), "the watch is still at 1; what stands there is known");
}

#[test]
fn a_conflict_is_tried_again_on_the_version_that_the_watch_brings() {
    let (mut desk, cluster, now) = desk(&[]);
    written(&mut desk, &cluster, now);
    desk.done(&object("a"), Outcome::Conflict, &cluster, now);
    let Next::Wait(Some(at)) = desk.next(&cluster, now) else { panic!("waits") };
    cluster.put("a", "5", &[]);
    assert_eq!(written(&mut desk, &cluster, at), publishes("5", OURS));
}

#[test]
fn a_conflict_in_which_another_wrote_the_same_needs_no_write() {
    let (mut desk, cluster, now) = desk(&[]);
    written(&mut desk, &cluster, now);
    desk.done(&object("a"), Outcome::Conflict, &cluster, now);
    cluster.put("a", "5", &[OURS]);
    assert_eq!(desk.next(&cluster, now + Duration::from_secs(1)), Next::Wait(None));
}

#[test]
fn an_ingress_that_left_is_withdrawn_once() {
    let (mut desk, cluster, now) = desk(&[OURS]);
    desk.next(&cluster, now);
    desk.plan(plan(false, &[("a", false)]), now);
    assert_eq!(desk.next(&cluster, now), Next::Write(object("a"), Write::Withdraw));
    desk.done(&object("a"), Outcome::Done(None), &cluster, now);
    desk.sweep();
    assert_eq!(desk.next(&cluster, now), Next::Wait(None), "its new owner may publish the same addresses");
}

#[test]
fn an_ingress_that_was_never_ours_is_left_alone() {
    let (mut desk, cluster, now) = desk(&[OURS]);
    cluster.put("theirs", "1", &[OURS]);
    desk.plan(plan(false, &[("theirs", false)]), now);
    desk.sweep();
    assert_eq!(desk.next(&cluster, now), Next::Wait(None));
}

#[test]
fn one_that_comes_back_while_it_is_withdrawn_is_published_again() {
    let (mut desk, cluster, now) = desk(&[OURS]);
    desk.next(&cluster, now);
    desk.plan(plan(false, &[("a", false)]), now);
    desk.next(&cluster, now);
    desk.plan(plan(false, &[("a", true)]), now);
    cluster.put("a", "4", &[]);
    desk.done(&object("a"), Outcome::Done(Some("4".into())), &cluster, now);
    assert_eq!(written(&mut desk, &cluster, now), publishes("4", OURS));
}

#[test]
fn a_whole_plan_without_it_is_as_good_as_a_farewell() {
    let (mut desk, cluster, now) = desk(&[OURS]);
    desk.next(&cluster, now);
    desk.plan(plan(true, &[]), now);
    assert_eq!(desk.next(&cluster, now), Next::Write(object("a"), Write::Withdraw));
}

#[test]
fn a_deleted_ingress_needs_nothing() {
    let (mut desk, cluster, now) = desk(&[]);
    cluster.0.borrow_mut().clear();
    desk.plan(plan(false, &[("a", false)]), now);
    assert_eq!(desk.next(&cluster, now), Next::Wait(None));
}

#[test]
fn many_are_written_at_a_rate() {
    let (mut desk, cluster, now) = desk(&[]);
    let names: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    for name in &names {
        cluster.put(name, "1", &[]);
    }
    let objects: Vec<(&str, bool)> = names.iter().map(|name| (name.as_str(), true)).collect();
    desk.plan(plan(false, &objects), now);
    let mut count = 0;
    while let Next::Write(object, _) = desk.next(&cluster, now) {
        desk.done(&object, Outcome::Gone, &cluster, now);
        count += 1;
    }
    assert_eq!(count, BURST);
    let Next::Wait(Some(at)) = desk.next(&cluster, now) else { panic!("waits") };
    assert_eq!(at, now + EVERY);
    assert!(matches!(desk.next(&cluster, at), Next::Write(..)));
}

#[test]
fn what_somebody_has_just_made_does_not_wait_for_all_others() {
    let (mut desk, cluster, now) = desk(&[]);
    let names: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    let objects: Vec<(&str, bool)> = names.iter().map(|name| (name.as_str(), true)).collect();
    for name in names.iter().map(String::as_str).chain(["new"]) {
        cluster.put(name, "1", &[]);
    }
    desk.plan(plan(false, &objects), now);
    desk.plan(plan(false, &[("new", true), ("999", true)]), now);
    let mut written = || match desk.next(&cluster, now) {
        Next::Write(object, _) => object.name.to_string(),
        Next::Wait(at) => panic!("waits for {at:?}"),
    };
    assert_eq!([written(), written(), written(), written()], ["new", "999", "a", "0"]);
}

#[test]
fn a_server_in_trouble_is_left_in_peace_by_all() {
    let (mut desk, cluster, now) = desk(&[]);
    written(&mut desk, &cluster, now);
    cluster.put("b", "1", &[]);
    desk.plan(plan(false, &[("b", true)]), now);
    desk.done(&object("a"), Outcome::Unavailable, &cluster, now);
    let Next::Wait(Some(at)) = desk.next(&cluster, now) else { panic!("waits") };
    assert!(at > now);
    let names: Vec<String> = (0..2).map(|_| written(&mut desk, &cluster, at).0).collect();
    assert_eq!(names, ["b", "a"]);
}

#[test]
fn an_object_that_is_refused_holds_up_no_other() {
    let (mut desk, cluster, now) = desk(&[]);
    written(&mut desk, &cluster, now);
    desk.done(&object("a"), Outcome::Refused, &cluster, now);
    cluster.put("b", "1", &[]);
    desk.plan(plan(false, &[("b", true)]), now);
    assert_eq!(written(&mut desk, &cluster, now).0, "b");
    desk.sweep();
    let Next::Wait(Some(at)) = desk.next(&cluster, now) else { panic!("waits; a sweep doesn't jump the wait") };
    assert_eq!(written(&mut desk, &cluster, at).0, "a");
}

#[test]
fn one_that_stops_leading_forgets_its_queue_and_knows_its_objects() {
    let (mut desk, cluster, now) = desk(&[]);
    desk.stop();
    assert_eq!((desk.next(&cluster, now), desk.waiting()), (Next::Wait(None), 0));
    desk.sweep();
    assert_eq!(written(&mut desk, &cluster, now), publishes("1", OURS));
}

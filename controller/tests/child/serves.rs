//! What the child serves is what was published: routes, listeners, certificates, and what is said of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rust_ingress::plane::Plane as _;
use rust_ingress_model::{KeyStore, Part};
use rust_ingress_proxy::options::{Drain, Options};

use crate::support::{Got, endpoint, get, listener, options, snapshot, start, until, with_endpoint};

fn body(text: &str) -> Got {
    Got::Body(text.into())
}

#[test]
fn a_snapshot_is_live_when_publish_returns() {
    let child = start();
    let (one, two) = (endpoint("one"), endpoint("two"));
    let first = Arc::new(snapshot(one));
    assert!(child.publish(first.clone(), &KeyStore::default()).is_empty());
    let http = child.bound()[0].1;
    assert_eq!(get(http, "/"), body("one"));
    for round in 0..20 {
        let to = [(two, "two"), (one, "one")][round % 2];
        assert!(child.publish(with_endpoint(&first, to.0), &KeyStore::default()).is_empty());
        assert_eq!(get(http, "/"), body(to.1));
    }
    let health = child.health_addr().unwrap();
    assert_eq!(get(health, "/readyz"), body("ok\n"));
    child.stop();
    assert!(matches!(get(http, "/"), Got::NoConnection(_)));
    assert!(matches!(get(health, "/readyz"), Got::NoConnection(_)));
}

#[test]
fn listeners_come_and_go() {
    let child = start();
    let mut draft = snapshot(endpoint("here"));
    child.publish(Arc::new(draft.clone()), &KeyStore::default());
    let first = child.bound()[0].1;
    draft.listeners.insert("other".into(), Part::new(listener(0)));
    child.publish(Arc::new(draft.clone()), &KeyStore::default());
    let bound = child.bound();
    let other = bound.iter().find(|(name, _)| &**name == "other").unwrap().1;
    assert_eq!((get(first, "/"), get(other, "/")), (body("here"), body("here")));
    draft.listeners.remove("http");
    child.publish(Arc::new(draft), &KeyStore::default());
    assert_eq!(get(other, "/"), body("here"));
    until("the removed listener refuses", || matches!(get(first, "/"), Got::NoConnection(_)));
    child.stop();
}

#[test]
fn a_port_of_another_program_is_a_fault_and_all_else_is_live() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let child = start();
    let mut draft = snapshot(endpoint("here"));
    draft.listeners.insert("taken".into(), Part::new(listener(taken.local_addr().unwrap().port())));
    let faults = child.publish(Arc::new(draft.clone()), &KeyStore::default());
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].to_string().contains("another program has the port"), "{}", faults[0]);
    let http = child.bound()[0].1;
    assert_eq!(get(http, "/"), body("here"));
    let Got::Body(said) = get(child.admin_addr().unwrap(), "/faults") else { panic!("no /faults") };
    assert!(said.contains("taken") && said.contains("in use"), "{said}");
    // It is tried again with the next snapshot.
    drop(taken);
    draft.listeners.insert("more".into(), Part::new(listener(0)));
    assert!(child.publish(Arc::new(draft), &KeyStore::default()).is_empty());
    child.stop();
}

#[test]
fn the_last_good_state_is_named_until_something_newer_is_known() {
    let child = start();
    let health = child.health_addr().unwrap();
    assert!(matches!(get(health, "/readyz"), Got::Answer(text) if text.contains("503") && text.contains("not ready")));
    let snapshot = Arc::new(snapshot(endpoint("here")));
    let written = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    child.publish_last_good(snapshot.clone(), &KeyStore::default(), written);
    assert_eq!(get(child.bound()[0].1, "/"), body("here"));
    until(
        "/readyz says so",
        || matches!(get(health, "/readyz"), Got::Body(text) if text.contains("last good state, written 2023-11-14")),
    );
    assert!(metric(health, "rust_ingress_last_good_state 1"));
    child.publish(snapshot, &KeyStore::default());
    until("/readyz says no more of it", || get(health, "/readyz") == body("ok\n"));
    assert!(metric(health, "rust_ingress_last_good_state 0"));
    child.stop();
}

fn metric(health: SocketAddr, line: &str) -> bool {
    matches!(get(health, "/metrics"), Got::Body(text) if text.lines().any(|is| is == line))
}

#[test]
fn a_bad_start_is_an_error_not_a_loop() {
    let mut bad = options();
    bad.proxy = Options {
        access_log: rust_ingress_proxy::options::AccessLog::File("/nowhere/at/all".into()),
        drain: Drain::default(),
        ..bad.proxy
    };
    let error = rust_ingress::child::Child::start(bad).err().unwrap();
    assert!(error.to_string().contains("ended at its start"), "{error:#}");
}

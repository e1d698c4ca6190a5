//! The health port and the admin port.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use rust_ingress_model::{
    Digest, Fault, Listener, ListenerAddress, ObjectRef, Part, PartMap, Reason, Report, ReportKey, Severity, Snapshot,
};
use rust_ingress_proxy::observe::{Observer, Readiness, Unavailable};
use rust_ingress_proxy::options::Options;

use crate::support::{get, loopback, observer, options, publish, raw};

fn snapshot() -> Snapshot {
    let listener = Listener::http(ListenerAddress::Any, 8080, "ingress".into());
    let object = ObjectRef::new("Ingress", "default", "web");
    let fault = Fault {
        object: object.clone(),
        field: "spec.rules[0]".into(),
        severity: Severity::Error,
        reason: Reason::ServiceNotFound,
        message: "Service \"web\" isn't there".into(),
        advice: "make it".into(),
    };
    let report = Report { faults: vec![fault], verdicts: Vec::new() };
    Snapshot {
        listeners: PartMap::from([("http".into(), Part::new(listener))]),
        reports: PartMap::from([(ReportKey::Object(object), Part::new(report))]),
        ..Snapshot::default()
    }
}

#[test]
fn ready_only_between_the_first_publish_and_the_drain() {
    let observer = observer();
    assert_eq!(observer.readiness(), Readiness::Starting);
    assert_eq!(get(observer.health_addr(), "/livez").0, 200);
    let (status, _, body) = get(observer.health_addr(), "/readyz");
    assert_eq!((status, &*body), (503, "not ready: nothing has been published yet\n"));
    publish(&observer, snapshot());
    assert_eq!(get(observer.health_addr(), "/readyz").0, 200);
    observer.draining();
    let (status, _, body) = get(observer.health_addr(), "/readyz");
    assert_eq!((status, &*body), (503, "not ready: stopping, and draining what is in flight\n"));
    publish(&observer, snapshot());
    assert_eq!(get(observer.health_addr(), "/readyz").0, 503, "a late publish doesn't make it ready again");
    assert_eq!(get(observer.health_addr(), "/livez").0, 200, "draining is alive");
}

#[test]
fn generation_names_what_is_live_on_both_ports() {
    let observer = observer();
    let (status, _, body) = get(observer.health_addr(), "/generation");
    assert_eq!((status, &*body), (200, r#"{"digest":null,"generation":0,"published":null}"#));
    publish(&observer, Snapshot::default());
    publish(&observer, snapshot());
    for address in [observer.health_addr(), observer.admin_addr()] {
        let (_, head, body) = get(address, "/generation");
        assert!(head.contains("content-type: application/json"));
        let json: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(json["generation"], 2);
        assert_eq!(json["digest"], snapshot().digest().to_string());
        assert!(json["published"].as_str().unwrap().ends_with('Z'));
    }
}

#[test]
fn snapshot_reads_back_as_it_was_published() {
    let observer = observer();
    assert_eq!(get(observer.admin_addr(), "/snapshot").0, 503);
    publish(&observer, snapshot());
    let (status, head, body) = get(observer.admin_addr(), "/snapshot");
    assert_eq!(status, 200);
    assert!(head.contains(&format!("etag: \"{}\"", snapshot().digest())), "{head}");
    assert_eq!(serde_json::from_str::<Snapshot>(&body).unwrap(), snapshot());
    assert_eq!(get(observer.health_addr(), "/snapshot").0, 404, "not on the node's address");
}

#[test]
fn faults_lists_objects_and_listeners() {
    let observer = observer();
    let unavailable =
        Unavailable { listener: "http".into(), address: "0.0.0.0:80".parse().unwrap(), error: "Address in use".into() };
    let snapshot = snapshot();
    observer.published(std::sync::Arc::new(snapshot.clone()), Digest::default(), vec![unavailable], Duration::ZERO);
    let (_, _, body) = get(observer.admin_addr(), "/faults");
    let json: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(json["faults"][0]["object"], "Ingress/default/web");
    assert_eq!(json["faults"][0]["reason"], "ServiceNotFound");
    assert_eq!(json["listeners"][0]["address"], "0.0.0.0:80");
}

#[test]
fn unknown_paths_and_other_methods() {
    let observer = observer();
    for address in [observer.health_addr(), observer.admin_addr()] {
        let (status, _, body) = get(address, "/");
        assert_eq!(status, 404);
        assert!(body.contains("/generation"), "says what there is: {body}");
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            let head = format!("{method} /generation HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            let (status, head, _) = raw(address.unwrap(), &head);
            assert_eq!(status, 405);
            assert!(head.contains("allow: get, head"), "{head}");
        }
        let (status, head, body) =
            raw(address.unwrap(), "HEAD /generation HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        assert_eq!((status, &*body), (200, ""));
        assert!(head.contains("content-length: "), "{head}");
    }
}

#[test]
fn admin_answers_to_loopback_hosts_only() {
    let observer = observer();
    let address = observer.admin_addr().unwrap();
    let ask = |hosts: &str| raw(address, &format!("GET /faults HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n")).0;
    assert_eq!(ask(&format!("Host: {address}\r\n")), 200);
    assert_eq!(ask("Host: LocalHost:9901\r\n"), 200);
    assert_eq!(ask("Host: [::1]\r\n"), 200);
    assert_eq!(ask("Host: rebound.example:9901\r\n"), 403);
    assert_eq!(ask("Host: localhost.example\r\n"), 403);
    assert_eq!(ask(""), 403);
    assert_eq!(ask("Host: localhost\r\nHost: rebound.example\r\n"), 403);
    let absolute = "GET http://rebound.example/faults HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(raw(address, absolute).0, 403);
    assert_eq!(get(observer.health_addr(), "/livez").0, 200, "the health port is asked by address");
}

#[test]
fn admin_refuses_to_leave_loopback() {
    for address in ["0.0.0.0:0", "192.0.2.1:0", "[::]:0"] {
        let error = Observer::new(&Options { admin: address.parse().ok(), ..Options::default() }).err().unwrap();
        assert!(error.to_string().contains("is not loopback"), "{error}");
    }
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind(loopback()).unwrap();
    let address = taken.local_addr().unwrap();
    let error = Observer::new(&Options { health: Some(address), ..options() }).err().unwrap().to_string();
    assert!(error.contains("health port") && error.contains(&address.to_string()) && error.contains("--health"), "{error}");
}

#[test]
fn no_ports_when_none_are_asked_for() {
    let observer = Observer::new(&Options::default()).unwrap();
    assert_eq!((observer.health_addr(), observer.admin_addr()), (None, None));
    observer.stop();
}

#[test]
fn stop_closes_the_ports() {
    let observer = observer();
    let (health, admin) = (observer.health_addr().unwrap(), observer.admin_addr().unwrap());
    observer.stop();
    for address in [health, admin] {
        assert!(TcpStream::connect(address).is_err(), "{address} still open");
    }
}

#[test]
fn connections_beyond_the_limit_wait_for_a_place() {
    let observer = observer();
    let address = observer.health_addr().unwrap();
    let mut idle: Vec<TcpStream> = (0..128).map(|_| TcpStream::connect(address).unwrap()).collect();
    let mut late = TcpStream::connect(address).unwrap();
    late.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    late.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut answer = [0; 12];
    assert!(late.read(&mut answer).is_err(), "answered over the limit");
    idle.pop();
    late.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    late.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

//! What `/metrics` says after what has been counted.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use http::Method;
use rust_ingress_model::{Certificate, Fingerprint, ObjectRef, Part, Snapshot};
use rust_ingress_proxy::exchange::{Exchange, Protocol};
use rust_ingress_proxy::fault::{Kind, RequestFault};
use rust_ingress_proxy::observe::metrics::MAX_SERIES;
use rust_ingress_proxy::observe::{Finished, Rejection};

use crate::support::{connection, exchange, metrics, observer, publish, sample};

const OK: Finished = Finished { status: 200, request_bytes: 10, response_bytes: 1000 };
const WEB: &str = r#"listener="https",route="Ingress/default/web",backend="default/web:80""#;

fn requests(labels: &str, rest: &str) -> String {
    format!("rust_ingress_requests_total{{{labels},{rest}}}")
}

#[test]
fn requests_by_route_backend_method_protocol_and_code() {
    let observer = observer();
    for _ in 0..3 {
        observer.finished(&exchange("web", "default/web:80"), &OK);
    }
    let mut post = exchange("web", "default/web:80");
    (post.method, post.protocol) = (Method::POST, Protocol::Grpc);
    observer.finished(&post, &Finished { status: 503, ..OK });
    let mut odd = exchange("web", "default/web:80");
    odd.method = Method::from_bytes(b"PURGE").unwrap();
    observer.finished(&odd, &Finished { status: 0, ..OK });
    let text = metrics(&observer);
    let count = |rest: &str| sample(&text, &requests(WEB, rest));
    assert_eq!(count(r#"method="GET",protocol="HTTP/1.1",code="2xx""#), Some(3.0));
    assert_eq!(count(r#"method="POST",protocol="gRPC",code="5xx""#), Some(1.0));
    assert_eq!(count(r#"method="other",protocol="HTTP/1.1",code="none""#), Some(1.0));
    assert_eq!(count(r#"method="GET",protocol="HTTP/1.1",code="5xx""#), None, "only what was counted");
    assert_eq!(sample(&text, &format!("rust_ingress_request_bytes_total{{{WEB}}}")), Some(50.0));
    assert_eq!(sample(&text, &format!("rust_ingress_response_bytes_total{{{WEB}}}")), Some(5000.0));
    assert_eq!(sample(&text, &format!("rust_ingress_request_duration_seconds_count{{{WEB}}}")), Some(5.0));
}

#[test]
fn every_core_counts_into_the_same_series() {
    let observer = observer();
    let threads = (0..4).map(|_| {
        let observer = observer.clone();
        thread::spawn(move || (0..1000).for_each(|_| observer.finished(&exchange("web", "default/web:80"), &OK)))
    });
    threads.collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().unwrap());
    let text = metrics(&observer);
    assert_eq!(sample(&text, &requests(WEB, r#"method="GET",protocol="HTTP/1.1",code="2xx""#)), Some(4000.0));
}

#[test]
fn two_proxies_in_one_process_count_apart() {
    let (one, two) = (observer(), observer());
    for _ in 0..5 {
        one.finished(&exchange("web", "default/web:80"), &OK);
        two.finished(&exchange("web", "default/web:80"), &OK);
        two.finished(&exchange("web", "default/web:80"), &OK);
    }
    let name = requests(WEB, r#"method="GET",protocol="HTTP/1.1",code="2xx""#);
    assert_eq!((sample(&metrics(&one), &name), sample(&metrics(&two), &name)), (Some(5.0), Some(10.0)));
}

#[test]
fn durations_are_cumulative_buckets() {
    let observer = observer();
    let mut slow = exchange("web", "default/web:80");
    slow.start = Instant::now().checked_sub(Duration::from_secs(120)).unwrap();
    slow.upstream_start = Some(slow.start);
    slow.upstream_head = Some(slow.start + Duration::from_millis(70));
    observer.finished(&slow, &OK);
    let text = metrics(&observer);
    let bucket = |family: &str, le: &str| sample(&text, &format!("rust_ingress_{family}_bucket{{le=\"{le}\",{WEB}}}"));
    assert_eq!(bucket("request_duration_seconds", "60.0"), Some(0.0));
    assert_eq!(bucket("request_duration_seconds", "+Inf"), Some(1.0));
    assert_eq!(bucket("upstream_response_duration_seconds", "0.05"), Some(0.0));
    assert_eq!(bucket("upstream_response_duration_seconds", "0.1"), Some(1.0));
    assert_eq!(bucket("upstream_response_duration_seconds", "+Inf"), Some(1.0));
    assert_eq!(sample(&text, &format!("rust_ingress_upstream_response_duration_seconds_sum{{{WEB}}}")), Some(0.07));
}

#[test]
fn requests_without_route_or_backend_have_empty_labels() {
    let observer = observer();
    let mut lost = Exchange::new(connection(), Method::GET, Protocol::Http2);
    lost.failed(&RequestFault::new(Kind::RouteNotFound, "no rule takes it"));
    observer.finished(&lost, &Finished { status: 404, ..OK });
    let text = metrics(&observer);
    let none = r#"listener="https",route="",backend="""#;
    assert_eq!(sample(&text, &requests(none, r#"method="GET",protocol="HTTP/2",code="4xx""#)), Some(1.0));
    assert_eq!(sample(&text, r#"rust_ingress_faults_total{kind="route_not_found",blame="client"}"#), Some(1.0));
    assert_eq!(sample(&text, r#"rust_ingress_faults_total{kind="internal",blame="us"}"#), Some(0.0));
}

#[test]
fn label_sets_are_bounded() {
    let observer = observer();
    for n in 0..MAX_SERIES + 50 {
        observer.finished(&exchange(&format!("r{n}"), "default/web:80"), &OK);
        observer.metrics.upstream(&format!("default/s{n}:80").parse().unwrap()).connect_failed();
    }
    let text = metrics(&observer);
    let named = text.lines().filter(|line| line.starts_with("rust_ingress_requests_total{")).count();
    assert_eq!(named, MAX_SERIES + 1);
    let other = r#"listener="https",route="other",backend="other""#;
    assert_eq!(sample(&text, &requests(other, r#"method="GET",protocol="HTTP/1.1",code="2xx""#)), Some(50.0));
    assert_eq!(sample(&text, r#"rust_ingress_upstream_connect_failures_total{backend="other"}"#), Some(50.0));
}

#[test]
fn routes_that_are_gone_make_room() {
    let observer = observer();
    for n in 0..MAX_SERIES {
        observer.finished(&exchange(&format!("r{n}"), "default/web:80"), &OK);
    }
    publish(&observer, Snapshot::default());
    metrics(&observer);
    observer.finished(&exchange("late", "default/web:80"), &OK);
    let late = r#"listener="https",route="Ingress/default/late",backend="default/web:80""#;
    let text = metrics(&observer);
    assert_eq!(sample(&text, &requests(late, r#"method="GET",protocol="HTTP/1.1",code="2xx""#)), Some(1.0));
    assert!(!text.contains("Ingress/default/r7\""));
}

#[test]
fn connections_and_handshakes_per_listener() {
    let observer = observer();
    let listener = observer.metrics.listener(&"https".into());
    (0..3).for_each(|_| listener.accepted());
    listener.rejected(Rejection::AddressLimit);
    listener.closed();
    listener.handshake("TLSv1.3");
    listener.handshake("TLSv1.2");
    listener.handshake_failed();
    let elsewhere = observer.clone();
    thread::spawn(move || elsewhere.metrics.listener(&"https".into()).accepted()).join().unwrap();
    let text = metrics(&observer);
    let value = |name: &str| sample(&text, &format!("rust_ingress_{name}"));
    assert_eq!(value(r#"connections_accepted_total{listener="https"}"#), Some(4.0));
    assert_eq!(value(r#"connections_open{listener="https"}"#), Some(3.0));
    assert_eq!(value(r#"connections_rejected_total{listener="https",reason="address_limit"}"#), Some(1.0));
    assert_eq!(value(r#"connections_rejected_total{listener="https",reason="connection_limit"}"#), Some(0.0));
    assert_eq!(value(r#"tls_handshakes_total{listener="https",version="TLSv1.3"}"#), Some(1.0));
    assert_eq!(value(r#"tls_handshakes_total{listener="https",version="TLSv1.2"}"#), Some(1.0));
    assert_eq!(value(r#"tls_handshake_failures_total{listener="https"}"#), Some(1.0));
}

#[test]
fn connections_to_backends() {
    let observer = observer();
    let upstream = observer.metrics.upstream(&"default/web:http".parse().unwrap());
    upstream.connected(Duration::from_micros(700));
    upstream.connected(Duration::from_millis(3));
    upstream.closed();
    upstream.reused();
    upstream.retried();
    upstream.connect_failed();
    upstream.ejected();
    observer.metrics.interim_dropped();
    let text = metrics(&observer);
    let value = |name: &str| sample(&text, &format!("rust_ingress_{name}{{backend=\"default/web:http\"}}"));
    assert_eq!(value("upstream_connect_duration_seconds_count"), Some(2.0));
    assert_eq!(value("upstream_connections_open"), Some(1.0));
    for name in ["connection_reuses", "retries", "connect_failures", "ejections"] {
        assert_eq!(value(&format!("upstream_{name}_total")), Some(1.0), "{name}");
    }
    assert_eq!(sample(&text, "rust_ingress_interim_responses_dropped_total"), Some(1.0));
}

#[test]
fn the_snapshot_that_is_live() {
    let observer = observer();
    assert_eq!(sample(&metrics(&observer), "rust_ingress_ready"), Some(0.0));
    let fingerprint = Fingerprint::of_chain(&[b"leaf"]);
    let secret = ObjectRef::new("Secret", "default", "shop");
    let certificate = Certificate { source: Some(secret), dns_names: Vec::new(), not_after: 1_900_000_000 };
    let mut snapshot = Snapshot::default();
    snapshot.certificates.insert(fingerprint, Part::new(certificate));
    let digest = snapshot.digest();
    publish(&observer, Snapshot::default());
    publish(&observer, snapshot);
    let text = metrics(&observer);
    let value = |name: &str| sample(&text, &format!("rust_ingress_{name}"));
    assert_eq!(value("ready"), Some(1.0));
    assert_eq!(value("snapshot_generation"), Some(2.0));
    assert_eq!(value("snapshot_publishes_total"), Some(2.0));
    assert_eq!(value("snapshot_last_publish_duration_seconds"), Some(0.002));
    assert_eq!(value(&format!("snapshot_info{{digest=\"{digest}\"}}")), Some(1.0));
    assert_eq!(value(r#"object_faults{severity="error"}"#), Some(0.0));
    let certificate =
        format!("certificate_not_after_timestamp_seconds{{source=\"Secret/default/shop\",fingerprint=\"{fingerprint}\"}}");
    assert_eq!(value(&certificate), Some(1.9e9));
    assert_eq!(value(&format!("build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))), Some(1.0));
    assert!(sample(&text, "process_start_time_seconds").unwrap() > 1.7e9);
    if cfg!(target_os = "linux") {
        assert!(sample(&text, "process_resident_memory_bytes").unwrap() > 1e6);
    }
}

#[test]
fn names_that_are_made_anew_are_the_same_series() {
    let observer = observer();
    let keep: Vec<Arc<str>> = (0..100)
        .map(|_| {
            let exchange = exchange("web", "default/web:80");
            observer.finished(&exchange, &OK);
            exchange.route.unwrap().0.name
        })
        .collect();
    assert_eq!(keep.len(), 100);
    let text = metrics(&observer);
    assert_eq!(sample(&text, &requests(WEB, r#"method="GET",protocol="HTTP/1.1",code="2xx""#)), Some(100.0));
}

//! The access log's lines and its file.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, Method, Uri, header};
use rust_ingress_proxy::exchange::{Exchange, Protocol};
use rust_ingress_proxy::fault::{Kind, RequestFault};
use rust_ingress_proxy::observe::{Finished, Observer};
use rust_ingress_proxy::options::AccessLog;
use serde_json::{Value, json};

use crate::support::{connection, exchange, logging, metrics, observer, sample};

const OK: Finished = Finished { status: 200, request_bytes: 10, response_bytes: 1000 };

/// A path of its own in the folder that cargo keeps for tests.
fn path(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.{}.log", std::process::id()));
    let _ = fs::remove_file(&path);
    path
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// Waits for something that the writer does in its own time.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "not in 20 s: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn full(observer: &Observer) -> Exchange {
    let mut exchange = exchange("shop", "default/shop:http");
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, HeaderValue::from_static("shop.example"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static("curl/8"));
    headers.insert(header::REFERER, HeaderValue::from_static("https://else.example/"));
    exchange.line = observer.line(&Uri::from_static("/cart?item=1"), &headers);
    exchange.request_id = HeaderValue::from_static("0f1e");
    exchange.client = "198.51.100.9".parse().unwrap();
    exchange.start = Instant::now().checked_sub(Duration::from_secs(3)).unwrap();
    exchange.endpoint = Some("10.0.0.5:8080".parse().unwrap());
    exchange.upstream_start = Some(exchange.start + Duration::from_micros(1500));
    exchange.upstream_head = Some(exchange.start + Duration::from_micros(22_250));
    exchange.retries = 1;
    exchange
}

/// The fields of a request of which everything is known and that failed in the end.
pub fn every_field() -> BTreeSet<String> {
    let path = path("every");
    let observer = logging(AccessLog::File(path.clone()));
    let mut exchange = full(&observer);
    exchange.failed(&RequestFault::new(Kind::StreamBroken, "the endpoint closed in the middle"));
    observer.finished(&exchange, &OK);
    observer.stop();
    let lines = lines(&path);
    lines[0].as_object().unwrap().keys().cloned().collect()
}

#[test]
fn all_fields_of_a_request() {
    let path = path("fields");
    let observer = logging(AccessLog::File(path.clone()));
    observer.finished(&full(&observer), &OK);
    observer.stop();
    let mut lines = lines(&path);
    let line = lines[0].as_object_mut().unwrap();
    let time = line.remove("time").unwrap();
    assert!(time.as_str().unwrap().ends_with('Z') && time.as_str().unwrap().len() == 24, "{time}");
    assert!(line.remove("duration_ms").unwrap().as_f64().unwrap() >= 3000.0);
    let expected = json!({
        "request_id": "0f1e", "client": "198.51.100.9", "peer": "192.0.2.7:50123", "local": "192.0.2.1:443",
        "listener": "https", "method": "GET", "host": "shop.example", "path": "/cart", "query": "item=1",
        "protocol": "HTTP/1.1", "tls_version": "TLSv1.3", "tls_cipher": "TLS13_AES_128_GCM_SHA256",
        "tls_server_name": "shop.example", "status": 200, "request_bytes": 10, "response_bytes": 1000,
        "upstream": "10.0.0.5:8080", "upstream_ms": 20.75, "overhead_ms": 1.5, "retries": 1,
        "route_kind": "Ingress", "route_namespace": "default", "route_name": "shop",
        "rule": "spec.rules[0].http.paths[1]", "service_namespace": "default", "service_name": "shop",
        "service_port": "http", "user_agent": "curl/8", "referer": "https://else.example/",
    });
    assert_eq!(Value::Object(line.clone()), expected);
}

#[test]
fn faults_carry_flag_blame_and_message() {
    let path = path("faults");
    let observer = logging(AccessLog::File(path.clone()));
    let mut lost = Exchange::new(connection(), Method::GET, Protocol::Http2);
    lost.failed(&RequestFault::new(Kind::NoEndpoints, "Service default/shop has no endpoint"));
    observer.finished(&lost, &Finished { status: 503, ..OK });
    lost.flag = Some("nginx.ingress.kubernetes.io/auth-url".into());
    observer.finished(&lost, &Finished { status: 503, ..OK });
    observer.stop();
    let lines = lines(&path);
    assert_eq!(lines[0]["flag"], "no_endpoints");
    assert_eq!(lines[0]["blame"], "upstream");
    assert_eq!(lines[0]["message"], "Service default/shop has no endpoint");
    assert_eq!(lines[0].get("route_name"), None, "absent fields are left out");
    assert_eq!(lines[1]["flag"], "nginx.ingress.kubernetes.io/auth-url");
    assert_eq!(lines[1]["fault"], "no_endpoints");
}

#[test]
fn hostile_headers_stay_inside_their_field() {
    let path = path("hostile");
    let observer = logging(AccessLog::File(path.clone()));
    let mut exchange = full(&observer);
    let line = exchange.line.as_deref_mut().unwrap();
    line.user_agent = Some(HeaderValue::from_bytes(b"\"},{\"status\":200\\ \xff\xfe").unwrap());
    line.referer = Some(HeaderValue::from_bytes(b"a\tb").unwrap());
    observer.finished(&exchange, &OK);
    observer.stop();
    let lines = lines(&path);
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["user_agent"], "\"},{\"status\":200\\ \u{fffd}\u{fffd}");
    assert_eq!(lines[0]["referer"], "a\tb");
}

#[test]
fn every_line_of_every_core_is_written_or_counted() {
    let path = path("many");
    let observer = logging(AccessLog::File(path.clone()));
    let threads = (0..4).map(|_| {
        let observer = observer.clone();
        thread::spawn(move || (0..5000).for_each(|_| observer.finished(&full(&observer), &OK)))
    });
    threads.collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().unwrap());
    let counted = || {
        let text = metrics(&observer);
        let value = |name: &str| sample(&text, &format!("rust_ingress_access_log_records{name}_total")).unwrap();
        (value(""), value("_dropped"))
    };
    until("all lines are accounted for", || counted().0 + counted().1 >= 20_000.0);
    let (written, dropped) = counted();
    observer.stop();
    assert_eq!(written + dropped, 20_000.0);
    assert_eq!(lines(&path).len() as f64, written);
}

#[test]
fn a_file_that_was_moved_away_is_opened_anew() {
    let path = path("rotated");
    let observer = logging(AccessLog::File(path.clone()));
    observer.finished(&full(&observer), &OK);
    until("the first line", || lines(&path).len() == 1);
    let old = path.with_extension("old");
    fs::rename(&path, &old).unwrap();
    observer.finished(&full(&observer), &OK);
    until("the second line, in a new file", || lines(&path).len() == 1);
    observer.stop();
    assert_eq!(lines(&old).len(), 1);
}

#[cfg(target_os = "linux")]
#[test]
fn lines_that_cannot_be_written_are_counted_and_stop_nothing() {
    let observer = logging(AccessLog::File("/dev/full".into()));
    observer.finished(&full(&observer), &OK);
    until("the drop is counted", || sample(&metrics(&observer), "rust_ingress_access_log_records_dropped_total") == Some(1.0));
    observer.stop();
}

#[test]
fn a_file_that_cannot_be_opened_is_named() {
    let path = path("missing").join("folder").join("access.log");
    let options = rust_ingress_proxy::options::Options { access_log: AccessLog::File(path.clone()), ..crate::support::options() };
    let error = Observer::new(&options).err().unwrap().to_string();
    assert!(error.contains(&path.display().to_string()), "{error}");
}

#[test]
fn nothing_is_taken_when_there_is_no_log() {
    assert!(observer().line(&Uri::from_static("/"), &HeaderMap::new()).is_none());
}

//! A real proxy between a real client and a real endpoint: what its requests leave in metrics and access log.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rust_ingress_model::backend::Balance;
use rust_ingress_model::{
    AppProtocol, Backend, BackendKey, BackendRef, Discovery, Endpoint, HostPattern, KeyStore, Listener, ListenerAddress,
    ObjectRef, Part, PartMap, PathMatch, RouteMatch, RouteSet, Rule, Snapshot, Timeouts, VirtualHost, WeightedBackend,
};
use rust_ingress_proxy::Proxy;
use rust_ingress_proxy::options::{AccessLog, Options};
use serde_json::Value;

use crate::support::{metrics, options, sample};

/// An endpoint: answers every request with 5 bytes, on connections that it keeps.
fn endpoint() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            thread::spawn(move || {
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                while let Some(Ok(line)) = lines.next() {
                    if line.is_empty() {
                        (&stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").unwrap();
                    }
                }
            });
        }
    });
    address
}

fn rule(path: &str, backend: BackendRef) -> Rule {
    Rule {
        source: ObjectRef::new("Ingress", "shop", "web"),
        field: format!("spec.rules[0].http.paths[{path}]").into(),
        matches: vec![RouteMatch::path(PathMatch::Prefix(path.into()))],
        filters: Vec::new(),
        guards: Vec::new(),
        backends: vec![WeightedBackend { backend, weight: 1, filters: Vec::new() }],
        timeouts: Timeouts::default(),
        retry: None,
        persistence: None,
        max_body: None,
    }
}

fn snapshot(endpoint: SocketAddr) -> Snapshot {
    let key: BackendKey = "shop/web:80".parse().unwrap();
    let rules = vec![
        rule("/web", BackendRef::Service(key.clone())),
        rule("/gone", BackendRef::Fail { status: 503, reason: "Service shop/gone isn't there".into() }),
    ];
    let discovery = Discovery::Endpoints(vec![Endpoint { address: endpoint, target: None, zone: None }]);
    let backend = Backend { protocol: AppProtocol::Http, tls: None, balance: Balance::default(), discovery };
    let listener = Listener::http(ListenerAddress::Ip([127, 0, 0, 1].into()), 0, "ingress".into());
    let host = VirtualHost { host: HostPattern::Any, rules };
    let set = RouteSet { hosts: PartMap::from([(HostPattern::Any, Part::new(host))]) };
    Snapshot {
        listeners: PartMap::from([("http".into(), Part::new(listener))]),
        route_sets: BTreeMap::from([("ingress".into(), set)]),
        backends: PartMap::from([(key, Part::new(backend))]),
        ..Snapshot::default()
    }
}

fn ask(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: test\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn lines(path: &Path) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn requests_show_in_metrics_and_access_log() {
    let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("proxy.{}.log", std::process::id()));
    let _ = fs::remove_file(&log);
    let options = Options { workers: 1, access_log: AccessLog::File(log.clone()), ..options() };
    let proxy = Proxy::start(options).unwrap();
    let observer = proxy.observer().clone();
    let endpoint = endpoint();
    let snapshot = Arc::new(snapshot(endpoint));
    assert!(proxy.publish(snapshot, &KeyStore::default()).is_empty());
    let address = proxy.bound()[0].1;
    assert!(ask(address, "/web?x=1").ends_with("hello"));
    assert!(ask(address, "/web/again").ends_with("hello"));
    assert!(ask(address, "/gone").starts_with("HTTP/1.1 503"));
    assert!(ask(address, "/nowhere").starts_with("HTTP/1.1 404"));
    let deadline = Instant::now() + Duration::from_secs(20);
    let counted = r#"rust_ingress_connections_open{listener="http"}"#;
    while sample(&metrics(&observer), counted) != Some(0.0) {
        assert!(Instant::now() < deadline, "a connection stays open");
        thread::sleep(Duration::from_millis(5));
    }
    shown(&metrics(&observer));
    proxy.stop();
    logged(&lines(&log), endpoint);
}

fn shown(text: &str) {
    let value = |name: &str| sample(text, &format!("rust_ingress_{name}"));
    let requests = |route: &str, backend: &str, code: &str| {
        let labels = format!("listener=\"http\",route=\"{route}\",backend=\"{backend}\"");
        value(&format!("requests_total{{{labels},method=\"GET\",protocol=\"HTTP/1.1\",code=\"{code}\"}}"))
    };
    assert_eq!(requests("Ingress/shop/web", "shop/web:80", "2xx"), Some(2.0), "{text}");
    assert_eq!(requests("Ingress/shop/web", "", "5xx"), Some(1.0), "{text}");
    assert_eq!(requests("", "", "4xx"), Some(1.0), "{text}");
    assert_eq!(value(r#"faults_total{kind="route_not_found",blame="client"}"#), Some(1.0));
    assert_eq!(value(r#"connections_accepted_total{listener="http"}"#), Some(4.0));
    let web = r#"{listener="http",route="Ingress/shop/web",backend="shop/web:80"}"#;
    assert_eq!(value(&format!("response_bytes_total{web}")), Some(10.0));
    assert_eq!(value(&format!("upstream_response_duration_seconds_count{web}")), Some(2.0));
    assert_eq!(value(r#"upstream_connect_duration_seconds_count{backend="shop/web:80"}"#), Some(1.0));
    assert_eq!(value(r#"upstream_connection_reuses_total{backend="shop/web:80"}"#), Some(1.0));
    assert_eq!((value("ready"), value("snapshot_generation")), (Some(1.0), Some(1.0)));
}

fn logged(lines: &[Value], endpoint: SocketAddr) {
    assert_eq!(lines.len(), 4);
    let web = &lines[0];
    let fields = ["method", "host", "path", "query", "protocol", "route_name", "service_name", "upstream", "user_agent"];
    let expected = ["GET", "shop.example", "/web", "x=1", "HTTP/1.1", "web", "web", &endpoint.to_string(), "test"];
    assert_eq!(fields.map(|field| web[field].as_str().unwrap_or_default()), expected, "{web}");
    assert_eq!((&web["status"], &web["response_bytes"]), (&200.into(), &5.into()), "{web}");
    assert!(!web["request_id"].as_str().unwrap().is_empty(), "{web}");
    assert!(web["upstream_ms"].as_f64() <= web["duration_ms"].as_f64(), "{web}");
    assert_eq!((&lines[2]["status"], &lines[2]["message"]), (&503.into(), &"Service shop/gone isn't there".into()));
    assert_eq!((&lines[3]["status"], &lines[3]["flag"]), (&404.into(), &"route_not_found".into()));
}

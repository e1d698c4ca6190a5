//! The objects of `bench change`: Ingresses of some paths on a host each, and the Services that they share.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};
use rust_ingress_translate::Object;
use serde_json::{Value, json};

/// How many of what.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Ingresses, each with a host of its own.
    pub ingresses: usize,
    /// Paths of each.
    pub paths: usize,
    /// Services that they share.
    pub services: usize,
    /// Endpoints of each.
    pub endpoints: usize,
    /// Whether Services have ClusterIPs, and endpoints addresses that a kernel may be given for them.
    pub l4: bool,
}

/// 10,000 routes on few Services: a site with many paths.
pub const ROUTES: Size = Size { ingresses: 1000, paths: 10, services: 100, endpoints: 2, l4: false };
/// 10,000 Ingresses, each to a Service of its own: a large cluster.
pub const CLUSTER: Size = Size { ingresses: 10_000, paths: 1, services: 10_000, endpoints: 5, l4: false };
/// The same with a node agent.
pub const CLUSTER_L4: Size = Size { l4: true, ..CLUSTER };

impl Size {
    /// All of them, as the World takes them.
    pub fn all(self) -> impl Iterator<Item = Object> {
        let services = (0..self.services).flat_map(move |n| [self.service(n), self.slice(n, 0)]);
        services.chain((0..self.ingresses).map(move |n| self.ingress(n, 0)))
    }

    /// All of them, as JSON documents (which are YAML documents).
    pub fn documents(self) -> impl Iterator<Item = Value> {
        let services = (0..self.services).flat_map(move |n| [self.service_document(n), self.slice_document(n, 0)]);
        services.chain((0..self.ingresses).map(move |n| self.ingress_document(n, 0)))
    }

    /// One Ingress; `version` is written into its first path, 0 for the one that [`Self::all`] has.
    pub fn ingress(self, number: usize, version: usize) -> Object {
        Object::Ingress(Box::new(typed(self.ingress_document(number, version))))
    }

    /// The slice of one Service; `version` moves its first endpoint.
    pub fn slice(self, number: usize, version: usize) -> Object {
        Object::EndpointSlice(Box::new(typed(self.slice_document(number, version))))
    }

    fn ingress_document(self, number: usize, version: usize) -> Value {
        let paths: Vec<Value> = (0..self.paths)
            .map(|rule| {
                let service = format!("service-{}", (number + rule) % self.services);
                let backend = json!({"service": {"name": service, "port": {"number": 80}}});
                json!({"path": path(rule, version), "pathType": "Prefix", "backend": backend})
            })
            .collect();
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": {"name": format!("ingress-{number}"), "namespace": "bench"},
            "spec": {"ingressClassName": "rust-ingress", "rules": [{"host": host(number), "http": {"paths": paths}}]}
        })
    }

    fn slice_document(self, number: usize, version: usize) -> Value {
        // 127.1.0.0/16 and 127.2.0.0/15: loopback, where nothing listens on port 9. An agent would refuse to program that.
        let net = if self.l4 { 10 } else { 127 };
        let first = format!("{net}.1.{}.{}", version / 250, version % 250 + 1);
        let others = (1..self.endpoints).map(|other| {
            let place = number * (self.endpoints - 1) + other;
            format!("{net}.{}.{}.{}", 2 + place / 62_500, place / 250 % 250, place % 250 + 1)
        });
        let endpoints: Vec<Value> = std::iter::once(first).chain(others).map(|address| json!({"addresses": [address]})).collect();
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "name": format!("service-{number}-a"), "namespace": "bench",
                "labels": {"kubernetes.io/service-name": format!("service-{number}")}
            },
            "ports": [{"name": "http", "port": 9, "protocol": "TCP"}],
            "endpoints": endpoints
        })
    }

    fn service(self, number: usize) -> Object {
        Object::Service(Box::new(typed(self.service_document(number))))
    }

    fn service_document(self, number: usize) -> Value {
        let mut document = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": format!("service-{number}"), "namespace": "bench"},
            "spec": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}]}
        });
        if self.l4 {
            document["spec"]["clusterIPs"] = json!([format!("172.16.{}.{}", number / 250, number % 250 + 1)]);
        }
        document
    }
}

/// The path of one rule.
pub fn path(rule: usize, version: usize) -> String {
    if rule == 0 { format!("/api/v{version}") } else { format!("/service/{rule}") }
}

fn host(number: usize) -> String {
    format!("host-{number}.example.com")
}

fn typed<T: serde::de::DeserializeOwned>(document: Value) -> T {
    // The documents above are literals of the right shape; a wrong one is a fault of this file, seen in the first run.
    serde_json::from_value(document).unwrap_or_else(|error| panic!("the bench's own object: {error}"))
}

/// The status of an answer to one request.
pub fn ask(address: SocketAddr, ingress: usize, path: &str) -> Result<u16> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", host(ingress))?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    status.with_context(|| format!("not an answer: {answer}"))
}

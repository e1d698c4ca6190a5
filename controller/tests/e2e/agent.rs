//! `agent render` and `agent explain` for a folder: what a node would be programmed with, and what becomes of a packet.

use std::fs;
use std::process::Output;

use tempfile::TempDir;

use crate::program::output;

const CLUSTER: &str = "apiVersion: v1
kind: Node
metadata: {name: node1}
spec: {podCIDRs: [10.244.1.0/24]}
status: {addresses: [{type: InternalIP, address: 192.0.2.1}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  clusterIP: 10.96.0.10
  clusterIPs: [10.96.0.10]
  externalIPs: [127.0.0.1]
  ports: [{name: http, port: 80, targetPort: 8080, nodePort: 30080}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080, protocol: TCP}]
endpoints:
- {addresses: [10.244.2.2], nodeName: node2, conditions: {ready: true}}
";

fn agent(arguments: &[&str]) -> (Option<i32>, String, String) {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("cluster.yaml"), CLUSTER).unwrap();
    let mut all = vec!["agent"];
    all.extend(arguments);
    all.extend(["--manifests", folder.path().to_str().unwrap()]);
    let Output { status, stdout, stderr } = output(&all);
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn a_packet_is_explained() {
    let packet = "tcp 198.51.100.7:40000 -> 192.0.2.1:30080";
    let (code, said, _) = agent(&["explain", "--node", "node1", "--packet", packet]);
    let expected = "tcp 198.51.100.7:40000 -> 192.0.2.1:30080, on node1, from outside
for Service/default/web, port http
  to-services: node-addresses has 192.0.2.1
  to-services: node-ports has tcp . 30080 : goto node-port-4
  node-port-4: node-port-endpoints has one
DNAT to 10.244.2.2:8080, source becomes the node's address: replies must come back through this node
";
    assert_eq!((code, said.as_str()), (Some(0), expected));
}

#[test]
fn settings_count() {
    let packet = ["explain", "--node", "node1", "--packet", "tcp 10.244.1.7:40000 -> 198.51.100.7:443"];
    let (_, without, _) = agent(&packet);
    assert!(without.contains("goes on to 198.51.100.7:443, source kept"), "{without}");
    let egress = ["--egress-snat", "--cluster-cidr", "10.244.0.0/16"];
    let (_, with, _) = agent(&[&packet[..], &egress[..]].concat());
    assert!(with.contains("goes on to 198.51.100.7:443, source becomes the node's address: egress"), "{with}");
}

#[test]
fn the_plan_is_printed_as_nft_text_and_what_is_left_out_beside_it() {
    let (code, all, left_out) = agent(&["render", "--node", "node1"]);
    assert_eq!(code, Some(0));
    assert!(all.starts_with("table ip rust-ingress {\n"), "{all}");
    assert!(all.contains("\ntable ip6 rust-ingress {\n"), "{all}");
    assert!(left_out.contains("Service/default/web spec.externalIPs[0]: InvalidValue: 127.0.0.1 is loopback"), "{left_out}");
    let (_, elements, _) = agent(&["render", "--node", "node1", "--elements"]);
    assert!(all.ends_with(&elements) && !elements.contains("table"), "{elements}");
    let endpoint = "add element ip rust-ingress endpoints {\n\t10.96.0.10 . tcp . 80 . 0 : 10.244.2.2 . 8080,\n}\n";
    assert!(elements.contains(endpoint), "{elements}");
}

#[test]
fn what_cannot_be_answered_is_said() {
    let (code, said, why) = agent(&["render", "--node", "node7"]);
    assert_eq!((code, said.as_str()), (Some(2), ""));
    assert!(why.contains("there is no Node \"node7\" in ") && why.contains("--node"), "{why}");
    let (code, _, why) = agent(&["explain", "--node", "node1", "--packet", "icmp 10.0.0.1 -> 10.0.0.2"]);
    assert_eq!(code, Some(2));
    assert!(why.contains("expected \"tcp 10.244.1.7:40000 -> 10.96.0.10:53\""), "{why}");
}

#[test]
fn an_address_of_a_pool_says_who_answers_for_it() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/bare-metal");
    let of =
        |line: &[&str]| String::from_utf8(output(&[line, &["--manifests", folder, "--node", "node1"]].concat()).stdout).unwrap();
    let said = of(&["agent", "explain", "--packet", "tcp 192.0.2.7:40000 -> 192.0.2.240:80"]);
    let holder = "192.0.2.240 is of AddressPool lan: node1 answers for it on the link\n";
    assert!(said.contains("for Service/default/web, port http") && said.ends_with(holder), "{said}");
    assert!(of(&["agent", "render", "--elements"]).starts_with(&format!("# {holder}")));
}

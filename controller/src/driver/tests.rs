//! What the driver publishes, and when, while Secrets are still to be read.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

use rust_ingress_model::l4::NodeFacts;
use rust_ingress_model::{KeyStore, ListenerName, ObjectRef};
use serde_json::json;

use super::*;
use crate::source::kinds::{self, Reading};

/// Says what was published: the hosts that have routes.
struct Recorder(Sender<Vec<String>>);

impl Plane for Recorder {
    fn publish(&self, snapshot: Arc<Snapshot>, _: &KeyStore) -> Vec<PublishFault> {
        let hosts = snapshot.route_sets.values().flat_map(|set| set.hosts.iter()).map(|(host, _)| host.to_string());
        self.0.send(hosts.collect()).unwrap();
        Vec::new()
    }

    fn bound(&self) -> Vec<(ListenerName, SocketAddr)> {
        Vec::new()
    }
}

/// A driver that runs, with an empty cluster that has been read.
struct Rig {
    messages: Sender<Message>,
    wanted: watch::Receiver<Wanted>,
    published: Receiver<Vec<String>>,
    thread: JoinHandle<()>,
}

impl Rig {
    /// `within`: how long it waits for Secrets.
    fn start(within: Duration) -> Self {
        let (messages, heard) = mpsc::channel();
        let (recorded, published) = mpsc::channel();
        let (hand, wanted) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut driver = Driver::new(Settings { http: vec![([127, 0, 0, 1], 0).into()], ..Settings::default() });
            driver.secrets_within = within;
            hand.send(driver.say_wanted()).unwrap();
            driver.run(&heard, &Recorder(recorded), false);
        });
        let rig = Self { messages, wanted: wanted.recv().unwrap(), published, thread };
        rig.say(Message::Listed);
        rig.say(Message::Answered(1));
        assert_eq!(rig.published.recv().unwrap(), [""; 0]);
        rig
    }

    fn say(&self, message: Message) {
        self.messages.send(message).unwrap();
    }

    fn ingress(&self, host: &str, secret: Option<&str>) {
        let tls: Vec<_> = secret.iter().map(|secret| json!({"hosts": [host], "secretName": secret})).collect();
        let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
        let paths = json!([{"path": "/", "pathType": "Prefix", "backend": backend}]);
        let ingress = json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": {"namespace": "shop", "name": host},
            "spec": {"ingressClassName": "rust-ingress", "tls": tls, "rules": [{"host": host, "http": {"paths": paths}}]}});
        self.say(Message::Changes(vec![put(ingress)]));
    }

    /// Waits until a Secret is wanted; gives the turn.
    fn wants(&mut self, secret: &str) -> u64 {
        loop {
            let wanted = self.wanted.borrow_and_update().clone();
            if wanted.objects.iter().any(|object| &*object.name == secret) {
                return wanted.turn;
            }
            thread::yield_now();
        }
    }

    fn stop(self) {
        self.say(Message::Stop);
        self.thread.join().unwrap();
    }
}

fn put(object: serde_json::Value) -> Change {
    let Ok(Reading::Object(read)) = kinds::read(object) else { panic!("not an object") };
    Change::Put(read.object)
}

#[test]
fn what_names_a_new_secret_is_published_with_the_answer_for_it() {
    let mut rig = Rig::start(Duration::MAX);
    rig.ingress("a.example", Some("tls"));
    let turn = rig.wants("tls");
    rig.ingress("b.example", None);
    rig.say(Message::Answered(turn));
    assert_eq!(rig.published.recv().unwrap(), ["a.example", "b.example"], "nothing before the answer");
    rig.stop();
}

#[test]
fn what_names_none_waits_for_none() {
    let rig = Rig::start(Duration::MAX);
    rig.ingress("a.example", None);
    assert_eq!(rig.published.recv().unwrap(), ["a.example"]);
    rig.stop();
}

#[test]
fn a_secret_that_is_never_answered_holds_up_its_own_turn_once() {
    let mut rig = Rig::start(Duration::from_millis(10));
    rig.ingress("a.example", Some("tls"));
    rig.wants("tls");
    assert_eq!(rig.published.recv().unwrap(), ["a.example"], "after a while, without its certificate");
    rig.ingress("b.example", None);
    assert_eq!(rig.published.recv().unwrap(), ["a.example", "b.example"]);
    rig.stop();
}

/// Says what the kernel was given: the Services, how many addresses of the node, and how many changes that have a time.
struct KernelRecorder(Sender<(Vec<String>, usize, usize)>);

impl Kernel for KernelRecorder {
    fn publish(&self, snapshot: &Arc<Snapshot>, node: &NodeFacts, triggered: &[SystemTime]) -> Vec<Fault> {
        let services = snapshot.services.keys().map(ToString::to_string).collect();
        self.0.send((services, node.addresses.len(), triggered.len())).unwrap();
        Vec::new()
    }
}

#[test]
fn kernel_and_proxy_are_told_what_concerns_them() {
    let (kernel_said, kernel) = mpsc::channel();
    let (proxy_said, proxy) = mpsc::channel();
    let plane = Recorder(proxy_said);
    let mut driver = Driver::new(Settings { l4: true, ..Settings::default() });
    driver.program("n".into(), L4Settings::default(), Box::new(KernelRecorder(kernel_said)));
    driver.turn(&plane);
    assert_eq!(kernel.try_recv().unwrap(), (Vec::new(), 0, 0), "without its Node, and without Services");
    proxy.try_recv().unwrap();

    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"clusterIPs": ["10.96.0.1"], "ports": [{"port": 80}]}});
    driver.apply(vec![put(service.clone())]);
    driver.turn(&plane);
    assert_eq!(kernel.try_recv().unwrap().0, ["Service/default/web"]);
    assert!(proxy.try_recv().is_err(), "a Service that no route names is nothing to the proxy");

    let node = |status| put(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}, "status": status}));
    let status = json!({"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]});
    driver.apply(vec![node(status.clone())]);
    driver.turn(&plane);
    assert_eq!(kernel.try_recv().unwrap().1, 1, "a node that changed");
    assert!(proxy.try_recv().is_err(), "neither is that");

    driver.apply(vec![node(status), put(service)]);
    driver.turn(&plane);
    driver.apply(vec![Change::Delete(ObjectRef::new("Node", "", "n"))]);
    driver.turn(&plane);
    assert!(kernel.try_recv().is_err(), "heartbeats, and a Node that is gone");
}

#[test]
fn the_kernel_is_told_when_a_change_of_endpoints_happened_and_the_world_is_not() {
    let (kernel_said, kernel) = mpsc::channel();
    let (proxy_said, _proxy) = mpsc::channel();
    let plane = Recorder(proxy_said);
    let mut driver = Driver::new(Settings { l4: true, ..Settings::default() });
    driver.program("n".into(), L4Settings::default(), Box::new(KernelRecorder(kernel_said)));
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"clusterIPs": ["10.96.0.1"], "ports": [{"port": 80, "targetPort": 8080}]}});
    let slice = |address: &str, time: &str| {
        let labels = json!({"kubernetes.io/service-name": "web"});
        put(json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": "web-1", "labels": labels, "annotations": {LAST_CHANGE: time}},
            "ports": [{"port": 8080}], "endpoints": [{"addresses": [address], "conditions": {"ready": true}}]}))
    };
    let said = |driver: &mut Driver, change| {
        driver.apply(vec![change]);
        driver.turn(&plane);
        kernel.try_iter().last().map(|(_, _, times)| times)
    };
    assert_eq!(said(&mut driver, put(service)), Some(0));
    assert_eq!(said(&mut driver, slice("10.244.0.1", "2020-01-02T03:04:05Z")), Some(0), "long before the start");
    assert_eq!(said(&mut driver, slice("10.244.0.2", "2990-01-02T03:04:05.678Z")), Some(1));
    assert_eq!(said(&mut driver, slice("10.244.0.3", "yesterday")), Some(0), "not a time");
}

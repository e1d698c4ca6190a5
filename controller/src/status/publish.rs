//! Which addresses to publish, kept up to date: fixed ones, a Service's, or those of the nodes that our Pods run on.
//!
//! Runs only while we lead: a cluster with 1,000 nodes has one of us that watches nodes, not 1,000.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use kube::api::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, Resource};
use tokio::sync::watch;
use tokio::time::{sleep, sleep_until};

use crate::status::address::{self, Address, Steady};
use crate::status::write::said;

/// The addresses to publish; `None` while they aren't known.
pub type Published = Option<Arc<[Address]>>;

/// Where the addresses come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Publish {
    /// `--publish-address`: these.
    Fixed(Vec<Address>),
    /// `--publish-service NAMESPACE/NAME`: that Service's.
    Service {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// Those of the nodes on which Pods like ours are ready. Needs the name of our own Pod.
    Nodes,
}

/// Two labels of our own Pod say which other Pods are ours.
const LABELS: [&str; 2] = ["app.kubernetes.io/name", "app.kubernetes.io/instance"];

/// How often to try to read our own Pod.
const OWN_POD: Duration = Duration::from_secs(10);

/// Tells the addresses as they change, until it is dropped.
pub async fn follow(client: Client, publish: Publish, namespace: String, pod: String, to: watch::Sender<Published>) {
    match publish {
        Publish::Fixed(list) => {
            let list: BTreeSet<Address> = list.into_iter().collect();
            to.send_replace(Some(list.into_iter().collect()));
        }
        Publish::Service { namespace, name } => of_service(client, &namespace, &name, &to).await,
        Publish::Nodes => of_nodes(client, &namespace, &pod, &to).await,
    }
}

async fn of_service(client: Client, namespace: &str, name: &str, to: &watch::Sender<Published>) {
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut events = Box::pin(watcher(Api::<Service>::namespaced(client, namespace), config).default_backoff());
    let (mut table, mut shown) = (Table::new("services"), Shown::default());
    let mut absent = false;
    loop {
        tokio::select! {
            () = table.step(&mut events, address::of_service) => {}
            () = at(shown.next) => {}
        }
        match table.now.values().next() {
            Some(addresses) => {
                absent = false;
                shown.show(addresses, to);
            }
            None if table.complete && !std::mem::replace(&mut absent, true) => {
                tracing::warn!(
                    "no Service {namespace}/{name}, whose addresses are to be published: status stays as it is until there is"
                );
            }
            None => {}
        }
    }
}

async fn of_nodes(client: Client, namespace: &str, pod: &str, to: &watch::Sender<Published>) {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let mut events = Box::pin(watcher(pods.clone(), peers(&pods, pod).await).default_backoff());
    let mut node_events = Box::pin(watcher(Api::<Node>::all(client), watcher::Config::default()).default_backoff());
    let (mut table, mut nodes, mut shown) = (Table::new("pods"), Table::new("nodes"), Shown::default());
    loop {
        tokio::select! {
            () = table.step(&mut events, Placed::of) => {}
            () = nodes.step(&mut node_events, address::of_node) => {}
            () = at(shown.next) => {}
        }
        // Without the right to read nodes there is what Pods say of theirs: the internal addresses.
        if table.complete && (nodes.complete || nodes.failure.is_some()) {
            let there = reachable(table.now.values(), &nodes.now);
            // Not one ready Pod: all of them restart, or we ourselves aren't ready yet. What stands in status is the best guess.
            if !there.is_empty() {
                shown.show(&there, to);
            }
        }
    }
}

/// Which Pods are like ours, once our own can be read.
pub(super) async fn peers(pods: &Api<Pod>, pod: &str) -> watcher::Config {
    let mut said_so = false;
    loop {
        match pods.get(pod).await {
            Ok(own) => return selection(pod, &own.metadata.labels.unwrap_or_default()),
            Err(error) if !std::mem::replace(&mut said_so, true) => tracing::warn!(
                pod,
                error = said(&error),
                "our own Pod can't be read, so there are no addresses to publish: check POD_NAME and POD_NAMESPACE, or give --publish-service or --publish-address"
            ),
            Err(_) => {}
        }
        sleep(OWN_POD).await;
    }
}

fn selection(pod: &str, labels: &BTreeMap<String, String>) -> watcher::Config {
    let pairs = LABELS.iter().filter_map(|label| Some(format!("{label}={}", labels.get(*label)?)));
    let selector = pairs.collect::<Vec<_>>().join(",");
    if selector.is_empty() {
        tracing::warn!(pod, "our Pod has none of the labels {LABELS:?}: only its own node's addresses are published");
        return watcher::Config::default().fields(&format!("metadata.name={pod}"));
    }
    watcher::Config::default().labels(&selector)
}

/// Where a Pod of ours runs.
struct Placed {
    node: String,
    ready: bool,
    /// `status.hostIPs`
    host: BTreeSet<Address>,
}

impl Placed {
    fn of(pod: &Pod) -> Self {
        let status = pod.status.clone().unwrap_or_default();
        let ready = status.conditions.iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True");
        let many = status.host_ips.unwrap_or_default().into_iter().map(|host| host.ip);
        Self {
            node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
            ready: ready && pod.metadata.deletion_timestamp.is_none(),
            host: many.chain(status.host_ip).filter_map(|ip| ip.parse().ok()).collect(),
        }
    }
}

/// The addresses of the nodes with a ready Pod.
fn reachable<'a>(pods: impl Iterator<Item = &'a Placed>, nodes: &BTreeMap<String, BTreeSet<Address>>) -> BTreeSet<Address> {
    let ready = pods.filter(|pod| pod.ready);
    ready.flat_map(|pod| nodes.get(&pod.node).filter(|list| !list.is_empty()).unwrap_or(&pod.host)).cloned().collect()
}

/// What is shown, and when to look again.
#[derive(Default)]
struct Shown {
    steady: Steady,
    next: Option<Instant>,
}

impl Shown {
    fn show(&mut self, there: &BTreeSet<Address>, to: &watch::Sender<Published>) {
        let (list, next) = self.steady.show(there, Instant::now());
        self.next = next;
        to.send_if_modified(|published| {
            let changed = published.as_deref() != Some(&list);
            if changed {
                tracing::info!(addresses = %list.iter().map(Address::to_string).collect::<Vec<_>>().join(","), "publishes these addresses");
                *published = Some(list.into());
            }
            changed
        });
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

/// What a watch has brought, by name.
pub(super) struct Table<V> {
    what: &'static str,
    pub(super) now: BTreeMap<String, V>,
    /// A list that is under way.
    fresh: BTreeMap<String, V>,
    /// Whether there has been a whole list.
    pub(super) complete: bool,
    /// What the API server said last, where it refused.
    failure: Option<String>,
}

impl<V> Table<V> {
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, now: BTreeMap::new(), fresh: BTreeMap::new(), complete: false, failure: None }
    }

    /// Takes the next event, of which `look` keeps what is needed.
    pub(super) async fn step<K: Resource>(
        &mut self,
        events: &mut (impl Stream<Item = Result<Event<K>, watcher::Error>> + Unpin),
        look: impl Fn(&K) -> V,
    ) {
        let Some(event) = events.next().await else { return std::future::pending().await };
        let name = |object: &K| object.meta().name.clone().unwrap_or_default();
        match event {
            Ok(Event::Init) => self.fresh.clear(),
            Ok(Event::InitApply(object)) => drop(self.fresh.insert(name(&object), look(&object))),
            Ok(Event::InitDone) => {
                self.now = std::mem::take(&mut self.fresh);
                self.complete = true;
                self.failure = None;
            }
            Ok(Event::Apply(object)) => drop(self.now.insert(name(&object), look(&object))),
            Ok(Event::Delete(object)) => drop(self.now.remove(&name(&object))),
            Err(error) => self.fail(&error),
        }
    }

    fn fail(&mut self, error: &watcher::Error) {
        let text = match error {
            watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error) => said(error),
            other => other.to_string(),
        };
        if self.failure.as_ref() != Some(&text) {
            tracing::warn!(error = text, "addresses to publish: can't watch {}", self.what);
            self.failure = Some(text);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use futures_util::stream;
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, node: &str, ready: &str) -> Value {
        json!({"metadata": {"name": name}, "spec": {"nodeName": node, "containers": []},
            "status": {"hostIP": "10.0.0.9", "hostIPs": [{"ip": "10.0.0.9"}, {"ip": "fd00::9"}], "conditions": [{"type": "Ready", "status": ready}]}})
    }

    fn shown(pods: &[Value], nodes: &[(&str, &str)]) -> String {
        let placed: Vec<Placed> = pods.iter().map(|pod| Placed::of(&serde_json::from_value(pod.clone()).unwrap())).collect();
        let nodes = nodes.iter().map(|(name, ip)| ((*name).to_owned(), BTreeSet::from([ip.parse().unwrap()]))).collect();
        reachable(placed.iter(), &nodes).iter().map(Address::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn nodes_with_a_ready_pod_are_published() {
        let nodes = [("n1", "192.0.2.1"), ("n2", "192.0.2.2"), ("n3", "192.0.2.3")];
        assert_eq!(shown(&[pod("a", "n1", "True"), pod("b", "n2", "False"), pod("c", "n1", "True")], &nodes), "192.0.2.1");
        let mut leaving = pod("a", "n1", "True");
        leaving["metadata"]["deletionTimestamp"] = json!("2026-11-23T13:00:00Z");
        assert_eq!(shown(&[leaving, pod("b", "n2", "True")], &nodes), "192.0.2.2");
    }

    #[test]
    fn a_node_that_cannot_be_read_gives_what_its_pod_says() {
        assert_eq!(shown(&[pod("a", "n1", "True")], &[]), "10.0.0.9 fd00::9");
    }

    #[tokio::test]
    async fn a_list_replaces_what_was_and_an_error_keeps_it() {
        let service = |name: &str| -> Service { serde_json::from_value(json!({"metadata": {"name": name}})).unwrap() };
        let mut events = stream::iter([
            Ok(Event::Init),
            Ok(Event::InitApply(service("a"))),
            Ok(Event::InitDone),
            Ok(Event::Apply(service("b"))),
            Err(watcher::Error::NoResourceVersion),
            Ok(Event::Init),
            Ok(Event::InitApply(service("c"))),
            Ok(Event::InitDone),
        ]);
        let mut table = Table::new("services");
        let mut names = Vec::new();
        for _ in 0..8 {
            table.step(&mut events, |_: &Service| ()).await;
            names.push(table.now.keys().cloned().collect::<String>());
        }
        assert_eq!(names, ["", "", "a", "ab", "ab", "ab", "ab", "c"]);
        assert!(table.complete && table.failure.is_none());
    }
}

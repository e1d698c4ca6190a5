//! The Pods like ours that are ready, kept up to date: where the Services of Gateways lead. Runs while we lead.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::watcher;
use tokio::sync::watch;

use crate::status::gateway_service::Peer;
use crate::status::publish::{Table, peers};

/// Tells the Pods as they change, until it is dropped.
pub async fn follow(client: Client, namespace: String, pod: String, to: watch::Sender<Arc<BTreeSet<Peer>>>) {
    let pods: Api<Pod> = Api::namespaced(client, &namespace);
    let mut events = Box::pin(watcher(pods.clone(), peers(&pods, &pod).await).default_backoff());
    let mut table = Table::new("pods");
    loop {
        table.step(&mut events, of_pod).await;
        if table.complete {
            let ready: BTreeSet<Peer> = table.now.values().flatten().cloned().collect();
            to.send_if_modified(|known| {
                let changed = **known != ready;
                *known = Arc::new(ready);
                changed
            });
        }
    }
}

/// The addresses of a Pod that takes traffic.
fn of_pod(pod: &Pod) -> Vec<Peer> {
    let status = pod.status.clone().unwrap_or_default();
    let is_ready = status.conditions.iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    if !is_ready || pod.metadata.deletion_timestamp.is_some() {
        return Vec::new();
    }
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
    let ips = status.pod_ips.into_iter().flatten().filter_map(|one| one.ip.parse().ok());
    ips.map(|ip| Peer { ip, node: node.clone() }).collect()
}

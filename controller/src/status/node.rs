//! Events on this node's Node: its L7 proxy is gone and the kernel carries its Services alone, or it is back. Each node says so of
//! itself, whoever holds the Lease.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::watch;

/// Says it, each time that it changes. `None` and the first `true` are nothing to speak of.
pub(super) async fn run(client: Client, name: String, pod: String, mut proxied: watch::Receiver<Option<bool>>) {
    let reporter = Reporter { controller: "rust-ingress.dev/agent".into(), instance: Some(pod.clone()) };
    let recorder = Recorder::new(client, reporter);
    // Of a Node, `kubectl describe` looks for Events with its name as their uid.
    let node = ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Node".into()),
        name: Some(name.clone()),
        uid: Some(name.clone()),
        ..ObjectReference::default()
    };
    let mut before = None;
    while proxied.changed().await.is_ok() {
        let now = *proxied.borrow_and_update();
        if let Some(event) = event(before, now, &name, &pod)
            && let Err(error) = recorder.publish(&event, &node).await
        {
            tracing::warn!(%error, "Node {name}: no Event can be written; see whether events may be created in namespace default");
        }
        before = now;
    }
}

/// What is to be said of a change.
fn event(before: Option<bool>, now: Option<bool>, node: &str, pod: &str) -> Option<Event> {
    let (type_, reason, note) = match (before, now) {
        (_, Some(false)) => (
            EventType::Warning,
            "L7Away",
            format!(
                "the L7 proxy of {node} doesn't answer: Services annotated rust-ingress.dev/l7 are carried at L4, straight to their \
                 endpoints, and those that require it are refused; see the log of Pod {pod}"
            ),
        ),
        (Some(false), Some(true)) => (
            EventType::Normal,
            "L7Back",
            format!("Services annotated rust-ingress.dev/l7 go through the L7 proxy of {node} again"),
        ),
        _ => return None,
    };
    Some(Event { type_, reason: reason.into(), note: Some(note), action: "Carry".into(), secondary: None })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_loss_and_what_follows_it_are_said() {
        let said = |before, now| event(before, now, "node1", "rust-ingress-x").map(|event| event.reason);
        assert_eq!(said(None, Some(true)), None, "it has only begun");
        assert_eq!(said(Some(true), Some(false)).as_deref(), Some("L7Away"));
        assert_eq!(said(Some(false), Some(true)).as_deref(), Some("L7Back"));
        assert_eq!(said(Some(true), Some(true)), None, "an upgrade");
        let note = event(None, Some(false), "node1", "rust-ingress-x").unwrap().note.unwrap();
        assert!(note.contains("node1") && note.contains("rust-ingress-x"), "{note}");
    }
}

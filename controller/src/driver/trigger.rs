//! When what changed an endpoint happened: the EndpointSlice controller notes it on the slice, and how long it took until a node's
//! kernel had it is the SLI "network programming latency" (sig-scalability).

use std::time::SystemTime;

use k8s_openapi::jiff::Timestamp;
use rust_ingress_translate::{Change, Object};

/// The annotation; RFC 3339.
pub(crate) const LAST_CHANGE: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// Takes the times out of changes: the World has no use for them. What happened before `start` waited for us to start.
pub(super) fn take(changes: &mut [Change], start: SystemTime) -> impl Iterator<Item = SystemTime> {
    changes.iter_mut().filter_map(move |change| {
        let Change::Put(Object::EndpointSlice(slice)) = change else { return None };
        let text = slice.metadata.annotations.take()?.remove(LAST_CHANGE)?;
        let time = SystemTime::from(text.parse::<Timestamp>().ok()?);
        (time > start).then_some(time)
    })
}

//! The writes themselves: statuses, and Events. Each is one request, or as few as it takes.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ObjectReference, Service};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Error};
use rust_ingress_model::ObjectRef;
use rust_ingress_model::status::ObjectStatus;
use rust_ingress_translate::pool::{CONDITION, FINALIZER};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::source::cluster::Involved;
use crate::status::address::Address;
use crate::status::balancer::Balance;
use crate::status::desk::{Outcome, Write};
use crate::status::gateway::{self, Written};
use crate::status::gateway_service::{self, Peer};
use crate::status::journal::Entry;

/// How our writes are signed, in `metadata.managedFields`.
pub const FIELD_MANAGER: &str = "rust-ingress";
/// `reportingController` of our Events.
const REPORTER: &str = "rust-ingress.dev/ingress-controller";
/// How long a write may take.
const REQUEST: Duration = Duration::from_secs(10);

/// What became of a write, and what to say of it.
pub struct Done {
    /// For the desk.
    pub outcome: Outcome,
    /// What the API server said, where it refused.
    pub error: Option<String>,
}

/// Writes one status.
pub async fn status(client: Client, object: ObjectRef, write: Write) -> Done {
    let ingresses: Api<Ingress> = Api::namespaced(client.clone(), &object.namespace);
    let services: Api<Service> = Api::namespaced(client.clone(), &object.namespace);
    let written = async {
        match write {
            Write::Publish { version, addresses } => {
                let entries: Vec<Value> = addresses.iter().map(Address::entry).collect();
                patch(&ingresses, &object.name, &version, &json!(entries)).await.map(Some)
            }
            Write::Withdraw => withdraw(&ingresses, &object.name).await,
            Write::Balance(balance) => give(&services, &object.name, &balance).await,
            Write::Release(_) => release(&services, &object.name).await,
            Write::Say(status, peers) => return say(client, &object, &status, &peers).await,
        }
        .map(Outcome::Done)
    };
    let (outcome, error) = match timeout(REQUEST, written).await {
        Ok(Ok(outcome)) => (outcome, None),
        Ok(Err(error)) => (outcome(&error), Some(said(&error))),
        Err(_) => (Outcome::Unavailable, Some("no answer in time".into())),
    };
    Done { outcome, error }
}

/// Writes on an object of the Gateway API, and makes a Gateway's Service. Its status is written even where that can't be.
async fn say(client: Client, object: &ObjectRef, status: &ObjectStatus, peers: &BTreeSet<Peer>) -> Result<Outcome, Error> {
    let made = match status.gateway.as_ref().and_then(|gateway| gateway.service.as_ref()) {
        Some(wish) => gateway_service::apply(&client, object, wish, peers).await,
        None => Ok(()),
    };
    let written = gateway::write(client, object, status).await?;
    made?;
    Ok(match written {
        Written::Version(version) => Outcome::Done(Some(version)),
        Written::Stale => Outcome::Conflict,
    })
}

/// Sets `status.loadBalancer.ingress` of this version of an Ingress; gives the version that this makes.
async fn patch(ingresses: &Api<Ingress>, name: &str, version: &str, entries: &Value) -> Result<String, Error> {
    let body = json!({"metadata": {"resourceVersion": version}, "status": {"loadBalancer": {"ingress": entries}}});
    let ingress = ingresses.patch_status(name, &signed(), &Patch::Merge(&body)).await?;
    Ok(ingress.metadata.resource_version.unwrap_or_default())
}

/// Empties the list if nobody but us has written it. The new owner may publish the very addresses that we do, so the
/// addresses don't tell whose they are; `managedFields` do, and we keep none of them in memory.
async fn withdraw(ingresses: &Api<Ingress>, name: &str) -> Result<Option<String>, Error> {
    let ingress = ingresses.get(name).await?;
    let fields = ingress.metadata.managed_fields.as_deref().unwrap_or_default();
    match ingress.metadata.resource_version {
        Some(version) if only_ours(fields) => patch(ingresses, name, &version, &Value::Null).await.map(Some),
        _ => Ok(None),
    }
}

/// Writes what pools give a Service: first the finalizer, so that it doesn't go before its address is taken back.
async fn give(services: &Api<Service>, name: &str, balance: &Balance) -> Result<Option<String>, Error> {
    let mut version = balance.version.clone();
    if let Some(finalizers) = &balance.finalizers {
        version = finalize(services, name, &version, finalizers).await?;
    }
    let Some(body) = balance.status(&version, Timestamp::now()) else { return Ok(Some(version)) };
    let service = services.patch_status(name, &signed(), &Patch::Merge(&body)).await?;
    Ok(service.metadata.resource_version)
}

/// Takes back from a Service what we wrote on it: addresses, conditions and the finalizer, each only if it is ours.
async fn release(services: &Api<Service>, name: &str) -> Result<Option<String>, Error> {
    let service = services.get(name).await?;
    let fields = service.metadata.managed_fields.as_deref().unwrap_or_default();
    let Some(mut version) = service.metadata.resource_version else { return Ok(None) };
    let (finalizer, list) = (format!("/f:metadata/f:finalizers/v:\"{FINALIZER}\""), "/f:status/f:loadBalancer/f:ingress");
    if wrote(fields, list) && service.metadata.deletion_timestamp.is_none() {
        let mut conditions = service.status.and_then(|status| status.conditions).unwrap_or_default();
        conditions.retain(|condition| condition.type_ != CONDITION);
        let status = json!({"loadBalancer": Value::Null, "conditions": conditions});
        let body = json!({"metadata": {"resourceVersion": version}, "status": status});
        let service = services.patch_status(name, &signed(), &Patch::Merge(&body)).await?;
        version = service.metadata.resource_version.unwrap_or_default();
    }
    let mut finalizers = service.metadata.finalizers.unwrap_or_default();
    if !wrote(fields, &finalizer) || !finalizers.iter().any(|one| one == FINALIZER) {
        return Ok(None);
    }
    finalizers.retain(|one| one != FINALIZER);
    finalize(services, name, &version, &finalizers).await.map(Some)
}

/// Sets the finalizers of this version of a Service; gives the version that this makes.
async fn finalize(services: &Api<Service>, name: &str, version: &str, finalizers: &[String]) -> Result<String, Error> {
    let body = json!({"metadata": {"resourceVersion": version, "finalizers": finalizers}});
    let service = services.patch(name, &signed(), &Patch::Merge(&body)).await?;
    Ok(service.metadata.resource_version.unwrap_or_default())
}

fn signed() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() }
}

/// Whether we have written what stands at this place.
fn wrote(fields: &[ManagedFieldsEntry], place: &str) -> bool {
    // A name of a field may hold a slash, which a JSON pointer has to escape.
    let place = place.replace("/load-balancer", "~1load-balancer");
    let there = |entry: &&ManagedFieldsEntry| entry.fields_v1.as_ref().is_some_and(|fields| fields.0.pointer(&place).is_some());
    fields.iter().filter(there).any(|entry| entry.manager.as_deref() == Some(FIELD_MANAGER))
}

/// Whether we, and nobody else, have written the addresses.
fn only_ours(fields: &[ManagedFieldsEntry]) -> bool {
    let wrote = |entry: &&ManagedFieldsEntry| {
        entry.fields_v1.as_ref().is_some_and(|fields| fields.0.pointer("/f:status/f:loadBalancer/f:ingress").is_some())
    };
    let mut writers = fields.iter().filter(wrote).map(|entry| entry.manager.as_deref()).peekable();
    writers.peek().is_some() && writers.all(|manager| manager == Some(FIELD_MANAGER))
}

/// What an error means for the desk.
fn outcome(error: &Error) -> Outcome {
    match error {
        Error::Api(status) => match status.code {
            404 => Outcome::Gone,
            409 => Outcome::Conflict,
            401 | 429 | 500.. => Outcome::Unavailable,
            _ => Outcome::Refused,
        },
        _ => Outcome::Unavailable,
    }
}

/// Whether the API server answered with this status.
pub fn is_status(error: &Error, code: u16) -> bool {
    matches!(error, Error::Api(status) if status.code == code)
}

/// An error for people: the API server's own words name object, verb and resource.
pub fn said(error: &Error) -> String {
    match error {
        Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// Writes one Event, or adds it to the series that it belongs to.
pub async fn event(client: Client, instance: String, entry: Entry, involved: Option<Involved>) -> Result<(), String> {
    let event = compose(&entry, involved, &instance);
    let namespace = event.metadata.namespace.clone().unwrap_or_default();
    let events: Api<Event> = Api::namespaced(client, &namespace);
    let written = async {
        match events.create(&PostParams::default(), &event).await {
            Err(error) if is_status(&error, 409) => again(&events, &event).await,
            other => other.map(drop),
        }
    };
    match timeout(REQUEST, written).await {
        Ok(done) => done.map_err(|error| said(&error)),
        Err(_) => Err("no answer in time".into()),
    }
}

fn compose(entry: &Entry, involved: Option<Involved>, instance: &str) -> Event {
    let object = &entry.fault.object;
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let (api_version, uid) = match involved {
        Some(Involved { api_version, uid }) => (Some(api_version.to_owned()), Some(uid)),
        None => (None, None),
    };
    let namespace = given(&object.namespace);
    Event {
        metadata: ObjectMeta {
            name: Some(entry.name(uid.as_deref().unwrap_or_default())),
            // Where Events on objects without a namespace are kept.
            namespace: Some(namespace.clone().unwrap_or_else(|| "default".into())),
            ..ObjectMeta::default()
        },
        regarding: Some(ObjectReference {
            api_version,
            kind: Some(object.kind.to_string()),
            name: Some(object.name.to_string()),
            namespace,
            uid,
            ..ObjectReference::default()
        }),
        type_: Some(entry.type_().into()),
        reason: Some(entry.reason()),
        note: Some(entry.note()),
        action: Some("Translate".into()),
        event_time: Some(MicroTime(Timestamp::now())),
        reporting_controller: Some(REPORTER.into()),
        reporting_instance: Some(instance.into()),
        ..Event::default()
    }
}

/// Counts one more. An empty patch answers with the Event as it is, and needs no right to read Events.
async fn again(events: &Api<Event>, event: &Event) -> Result<(), Error> {
    let (name, params) = (event.metadata.name.as_deref().unwrap_or_default(), PatchParams::default());
    let there = events.patch(name, &params, &Patch::Merge(json!({}))).await?;
    let count = there.series.map_or(1, |series| series.count) + 1;
    let series = json!({"series": {"count": count, "lastObservedTime": event.event_time}});
    events.patch(name, &params, &Patch::Merge(series)).await.map(drop)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn field(manager: &str, path: &Value) -> ManagedFieldsEntry {
        serde_json::from_value(json!({"manager": manager, "operation": "Update", "subresource": "status", "fieldsV1": path}))
            .unwrap()
    }

    #[test]
    fn only_what_nobody_else_has_written_is_ours() {
        let list = json!({"f:status": {"f:loadBalancer": {"f:ingress": {}}}});
        let spec = json!({"f:spec": {"f:rules": {}}});
        assert!(only_ours(&[field("kubectl", &spec), field(FIELD_MANAGER, &list)]));
        assert!(!only_ours(&[field(FIELD_MANAGER, &list), field("nginx-ingress-controller", &list)]));
        assert!(!only_ours(&[field("nginx-ingress-controller", &list)]));
        assert!(!only_ours(&[field(FIELD_MANAGER, &spec)]));
        assert!(!only_ours(&[]));
    }

    #[test]
    fn an_error_stops_one_object_or_all() {
        let error = |code: u16| {
            let status = json!({"status": "Failure", "code": code, "message": "no", "reason": ""});
            Error::Api(serde_json::from_value(status).unwrap())
        };
        for (code, expected) in [(404, Outcome::Gone), (409, Outcome::Conflict), (403, Outcome::Refused), (422, Outcome::Refused)]
        {
            assert_eq!(outcome(&error(code)), expected, "{code}");
        }
        for code in [401, 429, 500, 503, 504] {
            assert_eq!(outcome(&error(code)), Outcome::Unavailable, "{code}");
        }
    }
}

//! The statuses of the Gateway API: read, changed in our entries only, and written for the version that was read.
//!
//! Lists in them are atomic for Kubernetes, and others have entries there too: conditions of a Gateway, parents of a route.
//! All conditions of a generation go in one write. Called by `write`.

use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::ApiResource;
use kube::{Client, Error};
use rust_ingress_model::ObjectRef;
use rust_ingress_model::status::{Condition, ListenerStatus, ObjectStatus, ParentRef, ParentStatus};
use serde_json::{Map, Value, json};

use crate::status::write::FIELD_MANAGER;

const GROUP: &str = "gateway.networking.k8s.io";
/// `controllerName` of our entries.
const CONTROLLER: &str = "rust-ingress.dev/gateway-controller";

/// The condition of ours that is removed when it is no longer true.
const WHILE_TRUE: &str = "InsecureFrontendValidationMode";

/// What became of it.
pub enum Written {
    /// The object is of this version, and says what it shall.
    Version(String),
    /// The object isn't the one any more that the status was computed from.
    Stale,
}

/// Writes the status of one object, unless that stands there already.
///
/// # Errors
/// The API server's.
pub async fn write(client: Client, object: &ObjectRef, status: &ObjectStatus) -> Result<Written, Error> {
    let (api, name) = (api(client, object), &object.name);
    let there = api.get(name).await?;
    let version = there.metadata.resource_version.clone().unwrap_or_default();
    let withdraws = status.conditions.is_empty() && status.parents.is_empty() && status.ancestors.is_empty();
    if !withdraws && there.metadata.generation.unwrap_or_default() != status.generation {
        return Ok(Written::Stale);
    }
    let before = there.data.get("status").cloned().unwrap_or_else(|| json!({}));
    let after = changed(&before, object, status, &Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    if contains(&before, &after) {
        return Ok(Written::Version(version));
    }
    let body = json!({"metadata": {"resourceVersion": version}, "status": after});
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    let written = api.patch_status(name, &params, &Patch::Merge(&body)).await?;
    Ok(Written::Version(written.metadata.resource_version.unwrap_or_default()))
}

/// Objects of a kind of the Gateway API.
pub fn api(client: Client, object: &ObjectRef) -> Api<DynamicObject> {
    let (kind, plural) = match &*object.kind {
        "GatewayClass" => ("GatewayClass", "gatewayclasses"),
        "Gateway" => ("Gateway", "gateways"),
        "GRPCRoute" => ("GRPCRoute", "grpcroutes"),
        "BackendTLSPolicy" => ("BackendTLSPolicy", "backendtlspolicies"),
        "ListenerSet" => ("ListenerSet", "listenersets"),
        _ => ("HTTPRoute", "httproutes"),
    };
    let resource = ApiResource {
        group: GROUP.into(),
        version: "v1".into(),
        api_version: format!("{GROUP}/v1"),
        kind: kind.into(),
        plural: plural.into(),
    };
    match object.namespace.is_empty() {
        true => Api::all_with(client, &resource),
        false => Api::namespaced_with(client, &object.namespace, &resource),
    }
}

/// Whether all fields of a patch have its values already.
fn contains(there: &Value, patch: &Value) -> bool {
    patch.as_object().into_iter().flatten().all(|(field, value)| there.get(field).unwrap_or(&json!([])) == value)
}

/// The fields of a status that are ours, with what others have in them.
fn changed(before: &Value, object: &ObjectRef, status: &ObjectStatus, now: &str) -> Value {
    let mut after = Map::new();
    // With the most entries that the CRDs take.
    let entries = match &*object.kind {
        kind if kind.ends_with("Route") => Some(("parents", "parentRef", 32, &status.parents)),
        "BackendTLSPolicy" => Some(("ancestors", "ancestorRef", 16, &status.ancestors)),
        _ => None,
    };
    if let Some((list, reference, most, ours)) = entries {
        let entries = self::entries(&before[list], reference, ours, status.generation, now);
        after.insert(list.into(), entries.into_iter().take(most).collect());
        return after.into();
    }
    after.insert("conditions".into(), conditions(&before["conditions"], &status.conditions, status.generation, now));
    if !status.features.is_empty() {
        let features = status.features.iter().map(|name| json!({"name": name}));
        after.insert("supportedFeatures".into(), features.collect());
    }
    if let Some(gateway) = &status.gateway {
        let addresses = gateway.addresses.iter().map(|address| json!({"type": address.r#type, "value": address.value}));
        after.insert("addresses".into(), addresses.collect());
        after.insert("attachedListenerSets".into(), gateway.attached_sets.into());
    }
    let listeners = status.gateway.as_ref().map(|gateway| &gateway.listeners);
    if let Some(listeners) = listeners.or_else(|| (&*object.kind == "ListenerSet").then_some(&status.listeners)) {
        let listeners = listeners.iter().map(|listener| of_listener(&before["listeners"], listener, status.generation, now));
        after.insert("listeners".into(), listeners.collect());
    }
    after.into()
}

fn of_listener(before: &Value, listener: &ListenerStatus, generation: i64, now: &str) -> Value {
    let same = |other: &&Value| other["name"] == *listener.name;
    let before = before.as_array().into_iter().flatten().find(same).unwrap_or(&Value::Null);
    json!({
        "name": listener.name,
        "supportedKinds": listener.kinds.iter().map(|kind| json!({"group": GROUP, "kind": kind})).collect::<Value>(),
        "attachedRoutes": listener.attached_routes,
        "conditions": conditions(&before["conditions"], &listener.conditions, generation, now),
    })
}

/// Our conditions, and those of others as they are. The time is that of the last change between true and false.
fn conditions(before: &Value, ours: &[Condition], generation: i64, now: &str) -> Value {
    let there = || before.as_array().into_iter().flatten();
    let foreign = there().filter(|one| one["type"] != WHILE_TRUE && ours.iter().all(|own| one["type"] != *own.r#type)).cloned();
    let own = ours.iter().map(|own| {
        let status = if own.status { "True" } else { "False" };
        let same = there().find(|one| one["type"] == *own.r#type && one["status"] == status);
        let since = same.and_then(|one| one["lastTransitionTime"].as_str()).unwrap_or(now);
        json!({"type": own.r#type, "status": status, "reason": own.reason, "message": own.message,
            "observedGeneration": generation, "lastTransitionTime": since})
    });
    // In the order in which they stand already, so that nothing is written where nothing has changed.
    let mut all: Vec<Value> = own.chain(foreign).collect();
    all.sort_by_key(|one| there().position(|other| other["type"] == one["type"]).unwrap_or(usize::MAX));
    all.into()
}

/// The entries of others as they are, and then ours.
fn entries(before: &Value, field: &str, ours: &[ParentStatus], generation: i64, now: &str) -> Vec<Value> {
    let there = || before.as_array().into_iter().flatten();
    let others = there().filter(|entry| entry["controllerName"] != CONTROLLER).cloned();
    let own = ours.iter().map(|ParentStatus { parent, conditions: list }| {
        let parent = reference(parent);
        let same = there().find(|entry| entry["controllerName"] == CONTROLLER && entry[field] == parent);
        let before = same.map_or(&Value::Null, |entry| &entry["conditions"]);
        json!({field: parent, "controllerName": CONTROLLER, "conditions": conditions(before, list, generation, now)})
    });
    others.chain(own).collect()
}

fn reference(parent: &ParentRef) -> Value {
    let mut value = json!({"group": parent.group, "kind": parent.kind, "name": parent.name});
    let given = [
        ("namespace", parent.namespace.as_ref().map(|text| json!(text))),
        ("sectionName", parent.section_name.as_ref().map(|text| json!(text))),
        ("port", parent.port.map(|port| json!(port))),
    ];
    for (field, given) in given {
        if let Some(given) = given {
            value[field] = given;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(status: bool) -> Vec<Condition> {
        vec![Condition { r#type: "Accepted".into(), status, reason: "Accepted".into(), message: String::new() }]
    }

    #[test]
    fn what_others_have_written_stays() {
        let route = ObjectRef::new("HTTPRoute", "a", "r");
        let parent = ParentRef {
            group: GROUP.into(),
            kind: "Gateway".into(),
            namespace: None,
            name: "g".into(),
            section_name: Some("s".into()),
            port: None,
        };
        let status = ObjectStatus {
            generation: 3,
            parents: vec![ParentStatus { parent, conditions: accepted(true) }],
            ..ObjectStatus::default()
        };
        let foreign = json!({"controllerName": "other", "parentRef": {"name": "x"}, "conditions": []});
        let before = json!({"parents": [foreign]});
        let after = changed(&before, &route, &status, "now");
        assert_eq!(after["parents"][0], foreign);
        assert_eq!(after["parents"][1]["parentRef"], json!({"group": GROUP, "kind": "Gateway", "name": "g", "sectionName": "s"}));
        assert_eq!(after["parents"][1]["conditions"][0]["observedGeneration"], 3);
        assert!(!contains(&before, &after));
        assert_eq!(changed(&after, &route, &status, "later"), after, "nothing has changed, so the time hasn't");
        let gone = changed(&after, &route, &ObjectStatus::default(), "later");
        assert_eq!(gone["parents"], json!([foreign]));
    }

    #[test]
    fn a_gateway_keeps_the_conditions_of_others_and_the_time_of_its_own() {
        let gateway = ObjectRef::new("Gateway", "a", "g");
        let status = |accepts| ObjectStatus { generation: 1, conditions: accepted(accepts), ..ObjectStatus::default() };
        let before = json!({"conditions": [
            {"type": "Accepted", "status": "Unknown", "observedGeneration": 0, "lastTransitionTime": "1970"},
            {"type": "example.com/Seen", "status": "True"}]});
        let after = changed(&before, &gateway, &status(true), "now");
        assert_eq!(after["conditions"][0]["lastTransitionTime"], "now");
        assert_eq!(after["conditions"][1]["type"], "example.com/Seen");
        assert_eq!(changed(&after, &gateway, &status(true), "later"), after);
        assert_eq!(changed(&after, &gateway, &status(false), "later")["conditions"][0]["lastTransitionTime"], "later");
    }
}

//! Kinds: a plain value with `apiVersion` and `kind` becomes one of the objects that the World holds.
//!
//! Does what the API server does on the way in: the namespace's default, `stringData`, names that may not be, values of the
//! wrong type, fields that no such kind has. Called by the file source for each document and each item of a List.

use k8s_openapi::api::certificates::v1::ClusterTrustBundle;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass, ServiceCIDR};
use rust_ingress_model::ObjectRef;
use rust_ingress_translate::gateway_api::{
    BackendTlsPolicy, Gateway, GatewayClass, GrpcRoute, HttpRoute, ListenerSet, ReferenceGrant,
};
use rust_ingress_translate::pool::AddressPool;
use rust_ingress_translate::{GatewayParameters, Object};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What a value turned out to be.
pub enum Reading {
    /// An object that the World holds.
    Object(Read),
    /// The items of a `List`.
    List(Vec<Value>),
    /// A kind that isn't used here: `apps/v1 Deployment`.
    Unused(String),
}

/// An object, and what else it says.
pub struct Read {
    /// The object.
    pub object: Object,
    /// Paths of fields that its kind doesn't have; the API server would drop or refuse them.
    pub unknown: Vec<String>,
}

/// Why a value is not an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The object, as far as it says which it is.
    pub object: Option<ObjectRef>,
    /// The field to blame.
    pub field: String,
    /// Whether the field is missing, not wrong.
    pub missing: bool,
    /// What is wrong.
    pub message: String,
}

/// Reads one value.
pub fn read(mut value: Value) -> Result<Reading, Refused> {
    let text = |field: &str| value.get(field).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    let (Some(version), Some(kind)) = (text("apiVersion"), text("kind")) else {
        let field = if text("kind").is_none() { "kind" } else { "apiVersion" };
        return Err(Refused { object: None, field: field.into(), missing: true, message: format!("it has no {field}") });
    };
    if kind == "List" || (kind.ends_with("List") && value.get("items").is_some_and(Value::is_array)) {
        return match value.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => Ok(Reading::List(items)),
            _ => Ok(Reading::List(Vec::new())),
        };
    }
    let read: fn(Value) -> Result<Read, (String, String)> = match (version.as_str(), kind.as_str()) {
        ("networking.k8s.io/v1", "Ingress") => |value| typed::<Ingress>(value, Object::Ingress),
        ("networking.k8s.io/v1", "IngressClass") => |value| typed::<IngressClass>(value, Object::IngressClass),
        ("networking.k8s.io/v1", "ServiceCIDR") => |value| typed::<ServiceCIDR>(value, Object::ServiceCidr),
        ("discovery.k8s.io/v1", "EndpointSlice") => |value| typed::<EndpointSlice>(value, Object::EndpointSlice),
        ("rust-ingress.dev/v1alpha1", "AddressPool") => |value| typed::<AddressPool>(value, Object::AddressPool),
        ("rust-ingress.dev/v1alpha1", "GatewayParameters") => {
            |value| typed::<GatewayParameters>(value, Object::GatewayParameters)
        }
        ("v1", "Service") => |value| typed::<Service>(value, Object::Service),
        ("v1", "Secret") => |value| typed::<Secret>(value, |secret| Object::Secret(merge_string_data(secret))),
        ("v1", "ConfigMap") => |value| typed::<ConfigMap>(value, Object::ConfigMap),
        ("v1", "Namespace") => |value| typed::<Namespace>(value, Object::Namespace),
        ("v1", "Pod") => |value| typed::<Pod>(value, Object::Pod),
        ("v1", "Node") => |value| typed::<Node>(value, Object::Node),
        ("gateway.networking.k8s.io/v1", "GatewayClass") => |value| own::<GatewayClass>(value, Object::GatewayClass),
        ("gateway.networking.k8s.io/v1", "Gateway") => |value| own::<Gateway>(value, Object::Gateway),
        ("gateway.networking.k8s.io/v1", "HTTPRoute") => |value| own::<HttpRoute>(value, Object::HttpRoute),
        ("gateway.networking.k8s.io/v1", "GRPCRoute") => |value| own::<GrpcRoute>(value, Object::GrpcRoute),
        ("gateway.networking.k8s.io/v1" | "gateway.networking.k8s.io/v1beta1", "ReferenceGrant") => {
            |value| own::<ReferenceGrant>(value, Object::ReferenceGrant)
        }
        ("gateway.networking.k8s.io/v1", "BackendTLSPolicy") => |value| own::<BackendTlsPolicy>(value, Object::BackendTlsPolicy),
        ("gateway.networking.k8s.io/v1", "ListenerSet") => |value| own::<ListenerSet>(value, Object::ListenerSet),
        ("certificates.k8s.io/v1", "ClusterTrustBundle") => {
            |value| typed::<ClusterTrustBundle>(value, Object::ClusterTrustBundle)
        }
        _ => return Ok(Reading::Unused(format!("{version} {kind}"))),
    };
    let object = identify(&kind, &mut value)?;
    read(value).map(Reading::Object).map_err(|(field, message)| Refused { object: Some(object), field, missing: false, message })
}

/// Checks the metadata that names an object, and fills in the namespace.
fn identify(kind: &str, value: &mut Value) -> Result<ObjectRef, Refused> {
    let refuse = |field: &str, missing, message| Err(Refused { object: None, field: field.into(), missing, message });
    let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) else {
        return refuse("metadata", true, format!("this {kind} has no metadata, so no name"));
    };
    let name = match metadata.get("name") {
        Some(Value::String(name)) if !name.is_empty() => name.clone(),
        None | Some(Value::Null | Value::String(_)) => {
            return refuse("metadata.name", true, format!("this {kind} has no name"));
        }
        Some(other) => return refuse("metadata.name", false, format!("the name of this {kind} is {other}, which isn't a text")),
    };
    let namespace = match (kind, metadata.get("namespace")) {
        ("AddressPool" | "ClusterTrustBundle" | "GatewayClass" | "IngressClass" | "Namespace" | "Node" | "ServiceCIDR", _) => {
            metadata.remove("namespace");
            String::new()
        }
        (_, Some(Value::String(namespace))) if !namespace.is_empty() => namespace.clone(),
        (_, None | Some(Value::Null | Value::String(_))) => {
            metadata.insert("namespace".into(), "default".into());
            "default".into()
        }
        (_, Some(other)) => return refuse("metadata.namespace", false, format!("the namespace of {kind} {name} is {other}")),
    };
    let object = ObjectRef::new(kind, &namespace, &name);
    for (field, text) in [("metadata.name", &name), ("metadata.namespace", &namespace)] {
        // The signer of a bundle stands before its name, and a colon between them.
        let parts: Vec<&str> = if kind == "ClusterTrustBundle" { text.split(':').collect() } else { vec![text] };
        if !text.is_empty() && !parts.into_iter().all(is_dns_name) {
            let message = format!("{text:?} is not a DNS name of lower-case letters, digits, '-' and '.'");
            return Err(Refused { object: Some(object), field: field.into(), missing: false, message });
        }
    }
    Ok(object)
}

/// RFC 1123, as the API server checks names of these kinds.
pub(crate) fn is_dns_name(text: &str) -> bool {
    let label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = label.as_bytes();
        bytes.iter().all(|byte| inner(*byte) || *byte == b'-')
            && bytes.first().is_some_and(|byte| inner(*byte))
            && bytes.last().is_some_and(|byte| inner(*byte))
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// A value as its type; the error is the field to blame and what is wrong with it.
fn typed<T: DeserializeOwned + Serialize>(value: Value, object: impl FnOnce(Box<T>) -> Object) -> Result<Read, (String, String)> {
    let attempt = |value: &Value| T::deserialize(value).map_err(|error| error.to_string());
    match attempt(&value) {
        Ok(read) => {
            let unknown = serde_json::to_value(&read).map(|known| unknown_fields(&value, &known)).unwrap_or_default();
            Ok(Read { object: object(Box::new(read)), unknown })
        }
        Err(message) => Err((field_to_blame(value, &message, &|value| attempt(value).err()), message)),
    }
}

/// As [`typed`], for kinds of which we know all but the status.
fn own<T: DeserializeOwned + Serialize>(mut value: Value, object: fn(Box<T>) -> Object) -> Result<Read, (String, String)> {
    if let Some(fields) = value.as_object_mut() {
        fields.remove("status");
    }
    typed(value, object)
}

/// How many fields [`field_to_blame`] takes away before it names the field above them: each costs a look at the document.
const MOST_ATTEMPTS: usize = 2000;

/// The field whose absence changes the error, and below it again: serde tells what is wrong, but not where.
fn field_to_blame(mut value: Value, message: &str, attempt: &dyn Fn(&Value) -> Option<String>) -> String {
    let (mut pointer, mut field, mut attempts) = (String::new(), String::new(), 0);
    loop {
        let children: Vec<(String, String)> = match value.pointer(&pointer) {
            Some(Value::Object(map)) => map.keys().map(|key| (key.clone(), name_step(&field, key))).collect(),
            Some(Value::Array(items)) => (0..items.len()).map(|index| (index.to_string(), format!("[{index}]"))).collect(),
            _ => return field,
        };
        let blamed = children.into_iter().find(|(key, _)| {
            attempts += 1;
            attempts < MOST_ATTEMPTS && without(&mut value, &pointer, key, |value| attempt(value).as_deref() != Some(message))
        });
        let Some((key, step)) = blamed else { return field };
        pointer = format!("{pointer}/{}", escape(&key));
        field.push_str(&step);
    }
}

/// Asks of a value with one field or item taken away, and puts it back.
fn without(value: &mut Value, pointer: &str, key: &str, ask: impl FnOnce(&Value) -> bool) -> bool {
    let taken = match value.pointer_mut(pointer) {
        Some(Value::Object(map)) => map.remove(key),
        Some(Value::Array(items)) => {
            key.parse().ok().filter(|index| *index < items.len()).map(|index: usize| items.remove(index))
        }
        _ => None,
    };
    let Some(taken) = taken else { return false };
    let answer = ask(value);
    match value.pointer_mut(pointer) {
        Some(Value::Object(map)) => drop(map.insert(key.to_owned(), taken)),
        Some(Value::Array(items)) => items.insert(key.parse().unwrap_or(items.len()).min(items.len()), taken),
        _ => {}
    }
    answer
}

/// A key as a step of a JSON pointer (RFC 6901 §3).
fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// A key as a step of a field path.
fn name_step(parent: &str, key: &str) -> String {
    let plain = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    match (plain, parent.is_empty()) {
        (true, true) => key.to_owned(),
        (true, false) => format!(".{key}"),
        (false, _) => format!("[\"{key}\"]"),
    }
}

/// Paths of fields in a document that its typed form doesn't have.
fn unknown_fields(document: &Value, known: &Value) -> Vec<String> {
    fn walk(document: &Value, known: &Value, path: &str, found: &mut Vec<String>) {
        match (document, known) {
            (Value::Object(document), Value::Object(known)) => {
                for (key, value) in document {
                    let path = format!("{path}{}", name_step(path, key));
                    match known.get(key) {
                        Some(known) => walk(value, known, &path, found),
                        None if value.is_null() || path == "stringData" => {}
                        None => found.push(path),
                    }
                }
            }
            (Value::Array(document), Value::Array(known)) => {
                for (index, (document, known)) in document.iter().zip(known).enumerate() {
                    walk(document, known, &format!("{path}[{index}]"), found);
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(document, known, "", &mut found);
    found
}

/// `stringData` is write-only: it overwrites `data` (API reference, Secret).
fn merge_string_data(mut secret: Box<Secret>) -> Box<Secret> {
    for (key, text) in secret.string_data.take().unwrap_or_default() {
        secret.data.get_or_insert_default().insert(key, k8s_openapi::ByteString(text.into_bytes()));
    }
    secret
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_field_to_blame_is_found() {
        let value = json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": {"name": "web", "annotations": {"a.b/c": true}},
            "spec": {"rules": [{"host": "a"}]}});
        let Err(refused) = read(value) else { panic!("an annotation that is no text was taken") };
        assert_eq!(refused.field, "metadata.annotations[\"a.b/c\"]");
        assert_eq!(refused.object, Some(ObjectRef::new("Ingress", "default", "web")));
        let value = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
            "spec": {"ports": [{"port": 80}, {"port": "eighty"}]}});
        let Err(refused) = read(value) else { panic!("a port that is no number was taken") };
        assert_eq!(refused.field, "spec.ports[1].port");
    }

    #[test]
    fn unknown_fields_are_named() {
        let value = json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "web"},
            "spec": {"rules": [{"host": "a", "htpp": {}}], "tls": []}});
        let Ok(Reading::Object(read)) = read(value) else { panic!("an unknown field is no reason to refuse") };
        assert_eq!(read.unknown, ["spec.rules[0].htpp"]);
    }

    #[test]
    fn names_that_the_api_server_refuses_are_refused() {
        for name in ["Web", "web_1", "-web", "a/b", "web."] {
            let value = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}});
            assert!(read(value).is_err(), "{name}");
        }
    }

    #[test]
    fn string_data_overwrites_data() {
        let value = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"},
            "data": {"a": "eA==", "b": "eA=="}, "stringData": {"a": "y"}});
        let Ok(Reading::Object(Read { object: Object::Secret(secret), unknown })) = read(value) else { panic!("not a Secret") };
        let data = secret.data.unwrap_or_default();
        assert_eq!(data.get("a").map(|value| value.0.as_slice()), Some(b"y".as_slice()));
        assert_eq!(data.get("b").map(|value| value.0.as_slice()), Some(b"x".as_slice()));
        assert!(unknown.is_empty(), "{unknown:?}");
    }
}

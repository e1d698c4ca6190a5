//! The objects of `suite source`, as JSON documents.

use anyhow::Result;
use rcgen::KeyPair;
use serde_json::{Value, json};

/// Several objects as one document.
pub(super) fn list(items: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

pub(super) fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

pub(super) fn class() -> Value {
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": "rust-ingress"},
        "spec": {"controller": "rust-ingress.dev/ingress-controller"}})
}

pub(super) fn service(namespace: &str, name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
        "spec": {"clusterIP": "None", "ports": [{"name": "http", "port": 80}]}})
}

/// One slice of a Service, with one endpoint.
pub(super) fn slice(namespace: &str, service: &str, address: &str) -> Value {
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": format!("{service}-1"), "namespace": namespace, "labels": {"kubernetes.io/service-name": service}},
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}], "endpoints": [{"addresses": [address]}]})
}

/// An Ingress for one host, to the Service `web` of its namespace.
pub(super) fn ingress(namespace: &str, name: &str, host: &str, secret: Option<&str>) -> Value {
    let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
    let mut spec = json!({"ingressClassName": "rust-ingress",
        "rules": [{"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]});
    if let Some(secret) = secret {
        spec["tls"] = json!([{"hosts": [host], "secretName": secret}]);
    }
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": name, "namespace": namespace}, "spec": spec})
}

/// A TLS Secret with a certificate of its own.
pub(super) fn secret(namespace: &str, name: &str, host: &str) -> Result<Value> {
    let key = KeyPair::generate()?;
    let certificate = rcgen::CertificateParams::new(vec![host.to_owned()])?.self_signed(&key)?;
    Ok(
        json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": name, "namespace": namespace},
        "stringData": {"tls.crt": certificate.pem(), "tls.key": key.serialize_pem()}}),
    )
}

/// A service account, with a role of these rules in one namespace or, without one, in all.
pub(super) fn account(name: &str, namespace: Option<&str>, rules: &[Value]) -> Vec<Value> {
    let kind = if namespace.is_some() { "Role" } else { "ClusterRole" };
    let mut metadata = json!({"name": name});
    if let Some(namespace) = namespace {
        metadata["namespace"] = namespace.into();
    }
    let group = "rbac.authorization.k8s.io";
    vec![
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": "default"}}),
        json!({"apiVersion": format!("{group}/v1"), "kind": kind, "metadata": metadata, "rules": rules}),
        json!({"apiVersion": format!("{group}/v1"), "kind": format!("{kind}Binding"), "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": kind, "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "default"}]}),
    ]
}

/// The right to list and watch.
pub(super) fn may_read(group: &str, resources: &[&str]) -> Value {
    json!({"apiGroups": [group], "resources": resources, "verbs": ["list", "watch"]})
}

/// The same, of one object alone.
pub(super) fn may_read_one(resource: &str, name: &str) -> Value {
    json!({"apiGroups": [""], "resources": [resource], "resourceNames": [name], "verbs": ["list", "watch"]})
}

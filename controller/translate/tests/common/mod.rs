//! What the tests of this crate share: manifests and settings from YAML, and a World filled from them.

#![allow(dead_code, missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "tests; each uses a part of this")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rust_ingress_model::{Certificate, KeyPair};
use rust_ingress_translate::{Change, DefaultCertificate, Object, Origin, Settings, World};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

/// All documents of a YAML text, as objects.
pub fn objects(yaml: &str) -> Vec<Object> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(yaml).expect("YAML");
    // Deployments and DaemonSets are for the cluster: no source hands them on.
    documents
        .into_iter()
        .filter(|document| !matches!(document["kind"].as_str(), Some("Deployment" | "DaemonSet")))
        .map(object)
        .collect()
}

/// One Kubernetes object.
pub fn object(value: Value) -> Object {
    fn typed<T: DeserializeOwned>(value: Value) -> Box<T> {
        Box::new(serde_json::from_value(value).expect("a Kubernetes object"))
    }
    match value["kind"].as_str().expect("a kind") {
        "Ingress" => Object::Ingress(typed(value)),
        "IngressClass" => Object::IngressClass(typed(value)),
        "Service" => Object::Service(typed(value)),
        "EndpointSlice" => Object::EndpointSlice(typed(value)),
        "Secret" => Object::Secret(typed(value)),
        "ConfigMap" => Object::ConfigMap(typed(value)),
        "Namespace" => Object::Namespace(typed(value)),
        "Pod" => Object::Pod(typed(value)),
        "Node" => Object::Node(typed(value)),
        "ServiceCIDR" => Object::ServiceCidr(typed(value)),
        "AddressPool" => Object::AddressPool(typed(value)),
        "GatewayParameters" => Object::GatewayParameters(typed(value)),
        "GatewayClass" => Object::GatewayClass(typed(value)),
        "Gateway" => Object::Gateway(typed(value)),
        "HTTPRoute" => Object::HttpRoute(typed(value)),
        "GRPCRoute" => Object::GrpcRoute(typed(value)),
        "ReferenceGrant" => Object::ReferenceGrant(typed(value)),
        "BackendTLSPolicy" => Object::BackendTlsPolicy(typed(value)),
        "ListenerSet" => Object::ListenerSet(typed(value)),
        "ClusterTrustBundle" => Object::ClusterTrustBundle(typed(value)),
        kind => panic!("the tests have no {kind}"),
    }
}

/// A World with these objects.
pub fn world(objects: Vec<Object>, settings: &Settings) -> World {
    let mut world = World::new(settings);
    objects.into_iter().for_each(|object| world.apply(Change::Put(object)));
    world
}

/// Settings as golden folders write them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct GoldenSettings {
    origin: String,
    http: Vec<SocketAddr>,
    https: Vec<SocketAddr>,
    proxy_protocol: bool,
    allow_external_name: bool,
    default_certificate: bool,
    l4: bool,
}

impl Default for GoldenSettings {
    fn default() -> Self {
        Self {
            origin: "files".into(),
            http: vec!["127.0.0.1:8080".parse().unwrap()],
            https: vec!["127.0.0.1:8443".parse().unwrap()],
            proxy_protocol: false,
            allow_external_name: false,
            default_certificate: false,
            l4: false,
        }
    }
}

impl GoldenSettings {
    pub fn settings(self) -> Settings {
        Settings {
            origin: if self.origin == "cluster" { Origin::Cluster } else { Origin::Files },
            http: self.http,
            https: self.https,
            proxy_protocol: self.proxy_protocol,
            allow_external_name: self.allow_external_name,
            l4: self.l4,
            default_certificate: self.default_certificate.then(default_certificate),
            ..Settings::default()
        }
    }
}

/// The certificate of `fixtures/default-certificate.yaml`.
pub fn default_certificate() -> DefaultCertificate {
    let yaml = std::fs::read_to_string(folder("fixtures/default-certificate.yaml")).unwrap();
    let Some(Object::Secret(secret)) = objects(&yaml).pop() else { panic!("a Secret") };
    let data = secret.data.unwrap();
    let chain = CertificateDer::pem_slice_iter(&data["tls.crt"].0).map(|der| der.unwrap().to_vec()).collect();
    let key = PrivateKeyDer::from_pem_slice(&data["tls.key"].0).unwrap();
    let pair = KeyPair { chain, key: key.secret_der().to_vec().into() };
    let certificate = Certificate { source: None, dns_names: vec!["ingress.local".into()], not_after: 4_949_000_000 };
    DefaultCertificate { fingerprint: pair.fingerprint(), pair: Arc::new(pair), certificate }
}

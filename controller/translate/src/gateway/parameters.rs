//! GatewayParameters, `rust-ingress.dev/v1alpha1`: what Gateways have of us beside what the Gateway API says. Those of a GatewayClass
//! are for all its Gateways; those of one Gateway come first, field by field.
//!
//! Read at the door. What can't be read is a reference that doesn't hold: the Gateway isn't accepted (`InvalidParameters`), rather than
//! served otherwise than somebody meant.

use std::collections::BTreeMap;

use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{Metadata, NamespaceResourceScope, Resource};
use rust_ingress_model::{Name, ObjectRef, Rule};
use serde::{Deserialize, Serialize};

use super::listener::Gateway;
use super::rule::duration;
use crate::faults::Faults;
use crate::world::{Key, World};

/// The group of our own kinds.
const GROUP: &str = "rust-ingress.dev";
/// The kind.
const KIND: &str = "GatewayParameters";

/// As its CustomResourceDefinition in the chart has it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayParameters {
    /// `rust-ingress.dev/v1alpha1`
    pub api_version: String,
    /// `GatewayParameters`
    pub kind: String,
    /// Name and namespace.
    pub metadata: ObjectMeta,
    /// What it says.
    pub spec: GatewayParametersSpec,
}

/// What it says.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayParametersSpec {
    /// The Service of each Gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<GatewayParametersService>,
    /// A PROXY protocol header (v1 or v2) must open every connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<bool>,
    /// Where a route says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub defaults: Option<GatewayParametersDefaults>,
}

/// The Service of each Gateway.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayParametersService {
    /// `LoadBalancer` or `ClusterIP`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// `spec.loadBalancerClass`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer_class: Option<String>,
    /// The AddressPool that its addresses come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address_pool: Option<String>,
    /// `spec.loadBalancerSourceRanges`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer_source_ranges: Option<Vec<String>>,
    /// Beside those of `infrastructure`, which come first.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Beside those of `infrastructure`, which come first.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Where a route says nothing.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayParametersDefaults {
    /// Bytes; 0: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_body_bytes: Option<i64>,
    /// `rules[].timeouts`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<GatewayParametersTimeouts>,
}

/// As GEP-2257 writes times: `10s`, `1m30s`; `0s`: none.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayParametersTimeouts {
    /// The whole request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// To the head of an endpoint's response, per attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend_request: Option<String>,
    /// Without a byte in either direction, once the response has begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<String>,
    /// To a connection with an endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<String>,
}

impl Resource for GatewayParameters {
    const API_VERSION: &'static str = "rust-ingress.dev/v1alpha1";
    const GROUP: &'static str = GROUP;
    const KIND: &'static str = KIND;
    const VERSION: &'static str = "v1alpha1";
    const URL_PATH_SEGMENT: &'static str = "gatewayparameters";
    type Scope = NamespaceResourceScope;
}

impl Metadata for GatewayParameters {
    type Ty = ObjectMeta;

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// A `parametersRef`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ParametersRef {
    /// For messages.
    pub(crate) what: String,
    /// `None`: it isn't of our kind, or says no namespace.
    pub(crate) key: Option<Key>,
}

impl ParametersRef {
    /// `namespace`: the one that it says, or the Gateway's.
    pub(crate) fn new(group: &str, kind: &str, namespace: Option<&str>, name: &str) -> Self {
        let ours = group == GROUP && kind == KIND;
        let key = namespace.filter(|_| ours).map(|namespace| (namespace.into(), name.into()));
        let place = namespace.map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"));
        Self { what: format!("{kind}.{group} {place}"), key }
    }
}

/// What is kept of them: of one object, or of a class' and a Gateway's together.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Parameters {
    pub(crate) service: GatewayParametersService,
    pub(crate) proxy_protocol: Option<bool>,
    max_body: Option<u64>,
    request_ms: Option<u32>,
    backend_request_ms: Option<u32>,
    idle_ms: Option<u32>,
    connect_ms: Option<u32>,
}

impl Parameters {
    /// Reads one object.
    ///
    /// # Errors
    /// The field that can't be used, and why.
    pub(crate) fn parse(spec: &GatewayParametersSpec) -> Result<Self, String> {
        let service = spec.service.clone().unwrap_or_default();
        if let Some(kind) = service.kind.as_deref().filter(|kind| !matches!(*kind, "LoadBalancer" | "ClusterIP")) {
            return Err(format!("spec.service.type {kind:?} is neither LoadBalancer nor ClusterIP"));
        }
        for range in service.load_balancer_source_ranges.iter().flatten() {
            range
                .trim()
                .parse::<IpNet>()
                .map_err(|_| format!("spec.service.loadBalancerSourceRanges: {range:?} isn't a CIDR"))?;
        }
        let defaults = spec.defaults.clone().unwrap_or_default();
        let timeouts = defaults.timeouts.unwrap_or_default();
        let time = |name: &str, text: &Option<String>| {
            let Some(text) = text else { return Ok(None) };
            let time = duration(text, "", &mut Faults::of(ObjectRef::new(KIND, "", "")));
            time.map(Some).ok_or_else(|| format!("spec.defaults.timeouts.{name} {text:?} isn't a time such as 10s"))
        };
        let max_body = match defaults.max_body_bytes.map(u64::try_from) {
            None => None,
            Some(Ok(bytes)) => Some(bytes),
            Some(Err(_)) => return Err("spec.defaults.maxBodyBytes is less than 0".into()),
        };
        Ok(Self {
            service,
            proxy_protocol: spec.proxy_protocol,
            max_body,
            request_ms: time("request", &timeouts.request)?,
            backend_request_ms: time("backendRequest", &timeouts.backend_request)?,
            idle_ms: time("idle", &timeouts.idle)?,
            connect_ms: time("connect", &timeouts.connect)?,
        })
    }

    /// These, and what they don't say as others have it.
    fn over(self, other: Self) -> Self {
        let with = |own: BTreeMap<String, String>, mut all: BTreeMap<String, String>| {
            all.extend(own);
            all
        };
        let (own, below) = (self.service, other.service);
        Self {
            service: GatewayParametersService {
                kind: own.kind.or(below.kind),
                load_balancer_class: own.load_balancer_class.or(below.load_balancer_class),
                address_pool: own.address_pool.or(below.address_pool),
                load_balancer_source_ranges: own.load_balancer_source_ranges.or(below.load_balancer_source_ranges),
                labels: with(own.labels, below.labels),
                annotations: with(own.annotations, below.annotations),
            },
            proxy_protocol: self.proxy_protocol.or(other.proxy_protocol),
            max_body: self.max_body.or(other.max_body),
            request_ms: self.request_ms.or(other.request_ms),
            backend_request_ms: self.backend_request_ms.or(other.backend_request_ms),
            idle_ms: self.idle_ms.or(other.idle_ms),
            connect_ms: self.connect_ms.or(other.connect_ms),
        }
    }

    /// Fills in what a rule leaves open.
    pub(crate) fn complete(&self, rule: &mut Rule) {
        let timeouts = &mut rule.timeouts;
        timeouts.request_ms = timeouts.request_ms.or(self.request_ms);
        timeouts.response_headers_ms = timeouts.response_headers_ms.or(self.backend_request_ms);
        timeouts.idle_ms = timeouts.idle_ms.or(self.idle_ms);
        timeouts.connect_ms = timeouts.connect_ms.or(self.connect_ms);
        rule.max_body = rule.max_body.or(self.max_body);
    }
}

impl World {
    /// What a reference leads to.
    ///
    /// # Errors
    /// Why it leads nowhere.
    pub(crate) fn parameters(&self, reference: &ParametersRef) -> Result<Parameters, String> {
        let what = &reference.what;
        let Some(key) = &reference.key else {
            return Err(format!("parametersRef names {what}, which isn't read here; name a {KIND}.{GROUP}, with its namespace"));
        };
        match self.gateways.parameters.get(key) {
            Some(Ok(parameters)) => Ok(parameters.clone()),
            Some(Err(why)) => Err(format!("parametersRef names {what}, which can't be used: {why}; correct it")),
            None => Err(format!("parametersRef names {what}, which isn't there; create it, or correct the reference")),
        }
    }

    /// Those of a Gateway: its own over those of its class.
    ///
    /// # Errors
    /// Why they can't be known.
    pub(crate) fn parameters_of(&self, gateway: &Gateway) -> Result<Parameters, String> {
        let class = self.gateways.classes.get(&gateway.class).and_then(|class| class.parameters.as_ref());
        let class = class.map(|reference| self.parameters(reference)).transpose();
        let class = class.map_err(|why| format!("GatewayClass {}: {why}", gateway.class))?.unwrap_or_default();
        let own = gateway.parameters.as_ref().map(|reference| self.parameters(reference)).transpose();
        Ok(own.map_err(|why| format!("infrastructure.{why}"))?.unwrap_or_default().over(class))
    }

    /// Takes in parameters.
    pub(crate) fn set_parameters(&mut self, key: &Key, new: Option<Result<Parameters, String>>) {
        if self.gateways.parameters.get(key) == new.as_ref() {
            return;
        }
        match new {
            Some(new) => drop(self.gateways.parameters.insert(key.clone(), new)),
            None => drop(self.gateways.parameters.remove(key)),
        }
        let names = |reference: Option<&ParametersRef>| reference.is_some_and(|reference| reference.key.as_ref() == Some(key));
        let classes = self.gateways.classes.iter().filter(|(_, class)| names(class.parameters.as_ref()));
        let classes: Vec<Name> = classes.map(|(name, _)| name.clone()).collect();
        let of = self.gateways.gateways.iter();
        let of = of.filter(|(_, gateway)| classes.contains(&gateway.class) || names(gateway.parameters.as_ref()));
        let gateways: Vec<Key> = of.map(|(key, _)| key.clone()).collect();
        gateways.iter().for_each(|gateway| self.touch_gateway(gateway));
        self.dirty.objects.extend(classes.iter().map(|name| ObjectRef::new("GatewayClass", "", name)));
    }
}

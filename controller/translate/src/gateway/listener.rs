//! A Gateway and its listeners, parsed once at the door.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use rust_ingress_model::{HostPattern, Name, ObjectRef, Reason};

use super::authority::AuthorityRef;
use super::parameters::ParametersRef;
use super::types::Gateway as Object;
use super::types::gateway::{
    GatewayAllowedListeners, GatewayAllowedListenersNamespacesFrom as SetsFrom, GatewayListeners, GatewayListenersAllowedRoutes,
    GatewayListenersAllowedRoutesNamespacesFrom as From, GatewayListenersTls, GatewayListenersTlsMode, GatewayTls,
    GatewayTlsFrontendDefaultValidationMode as DefaultMode, GatewayTlsFrontendPerPortTlsValidation as PerPortValidation,
    GatewayTlsFrontendPerPortTlsValidationMode as PerPortMode,
};
use super::{GROUP, hostname};
use crate::faults::Faults;
use crate::ingress::validate;
use crate::world::Key;

/// A Gateway, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gateway {
    pub(crate) reference: ObjectRef,
    pub(crate) created: Option<Time>,
    pub(crate) generation: i64,
    pub(crate) class: Name,
    pub(crate) listeners: Vec<Listener>,
    /// `allowedListeners`: from which namespaces ListenerSets may attach.
    pub(crate) sets: Namespaces,
    /// `spec.addresses`: type and value; no value asks for any address of that type.
    pub(crate) addresses: Vec<(Name, Option<Name>)>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    /// `tls.backend.clientCertificateRef`: shown to endpoints that speak TLS.
    pub(crate) client_certificate: Option<CertificateRef>,
    /// `tls.frontend.default`: which certificates clients show.
    clients: Option<Validation>,
    /// `tls.frontend.perPort`: in place of that.
    clients_by_port: BTreeMap<u16, Option<Validation>>,
    /// `infrastructure.parametersRef`
    pub(crate) parameters: Option<ParametersRef>,
    pub(crate) faults: Vec<rust_ingress_model::Fault>,
}

/// One listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listener {
    pub(crate) name: Name,
    pub(crate) port: u16,
    pub(crate) protocol: Name,
    pub(crate) hostname: HostPattern,
    /// `tls`: its certificates, where TLS is terminated.
    pub(crate) tls: Option<Tls>,
    pub(crate) namespaces: Namespaces,
    /// `allowedRoutes.kinds`: group and kind; empty: all that the protocol has.
    pub(crate) kinds: Vec<(Name, Name)>,
}

/// How a listener has TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tls {
    pub(crate) passthrough: bool,
    pub(crate) certificates: Vec<CertificateRef>,
}

/// A reference to a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CertificateRef {
    /// Whether it is a Secret.
    pub(crate) secret: bool,
    /// What it is, for messages: `Secret infra/web`.
    pub(crate) what: String,
    pub(crate) key: Key,
}

/// How clients are checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Validation {
    pub(crate) refs: Vec<AuthorityRef>,
    /// `AllowInsecureFallback`.
    pub(crate) insecure_fallback: bool,
}

/// From which namespaces routes may attach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Namespaces {
    /// The Gateway's own.
    Same,
    /// All.
    All,
    /// None.
    None,
    /// Those with these labels.
    Selector(Selector),
}

/// A label selector: all of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selector(Vec<(String, Operator, Vec<String>)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    In,
    NotIn,
    Exists,
    Absent,
    /// One that isn't known takes nothing.
    Unknown,
}

impl Selector {
    fn parse<'s>(
        labels: Option<&BTreeMap<String, String>>,
        expressions: impl Iterator<Item = (&'s str, &'s str, Option<&'s Vec<String>>)>,
    ) -> Self {
        let equal = labels.into_iter().flatten();
        let equal = equal.map(|(key, value)| (key.clone(), Operator::In, vec![value.clone()]));
        let expressions = expressions.map(|(key, operator, values)| {
            let operator = match operator {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::Absent,
                _ => Operator::Unknown,
            };
            (key.to_owned(), operator, values.cloned().unwrap_or_default())
        });
        Self(equal.chain(expressions).collect())
    }

    /// Whether an object with these labels is meant.
    pub(crate) fn takes(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|(key, operator, values)| match (operator, labels.get(key)) {
            (Operator::In, Some(value)) => values.contains(value),
            (Operator::NotIn, Some(value)) => !values.contains(value),
            (Operator::NotIn | Operator::Absent, None) | (Operator::Exists, Some(_)) => true,
            (Operator::In | Operator::Exists, None) | (Operator::Absent, Some(_)) | (Operator::Unknown, _) => false,
        })
    }
}

impl Gateway {
    /// Parses a Gateway.
    pub(crate) fn parse(reference: &ObjectRef, object: &Object) -> Self {
        let mut faults = Faults::of(reference.clone());
        let spec = &object.spec;
        let listeners = spec.listeners.iter().enumerate();
        let listeners = listeners.filter_map(|(index, listener)| {
            Listener::parse(&reference.namespace, &format!("spec.listeners[{index}]"), listener, &mut faults)
        });
        let listeners = listeners.collect();
        let addresses = spec.addresses.iter().flatten().map(|address| {
            let value = address.value.as_deref().filter(|value| !value.is_empty());
            (address.r#type.as_deref().unwrap_or("IPAddress").into(), value.map(Into::into))
        });
        let infrastructure = spec.infrastructure.clone().unwrap_or_default();
        Self {
            reference: reference.clone(),
            created: object.metadata.creation_timestamp.clone(),
            generation: object.metadata.generation.unwrap_or_default(),
            class: spec.gateway_class_name.as_str().into(),
            listeners,
            sets: sets(spec.allowed_listeners.as_ref()),
            addresses: addresses.collect(),
            labels: infrastructure.labels.unwrap_or_default(),
            annotations: infrastructure.annotations.unwrap_or_default(),
            client_certificate: client_certificate(&reference.namespace, spec.tls.as_ref()),
            clients: clients(&reference.namespace, spec.tls.as_ref()),
            clients_by_port: clients_by_port(&reference.namespace, spec.tls.as_ref()),
            parameters: infrastructure
                .parameters_ref
                .map(|one| ParametersRef::new(&one.group, &one.kind, Some(&reference.namespace), &one.name)),
            faults: faults.into_list(),
        }
    }

    /// The Secrets that it refers to.
    pub(crate) fn secrets(&self) -> BTreeSet<Key> {
        let own = self.client_certificate.iter().filter(|one| one.secret).map(|one| &one.key);
        self.listeners.iter().flat_map(Listener::secrets).chain(own).cloned().collect()
    }

    /// How clients are checked that speak TLS on a port.
    pub(crate) fn clients(&self, port: u16) -> Option<&Validation> {
        self.clients_by_port.get(&port).unwrap_or(&self.clients).as_ref()
    }

    /// All ways in which clients are checked.
    pub(crate) fn validations(&self) -> impl Iterator<Item = &Validation> {
        self.clients_by_port.values().chain([&self.clients]).flatten()
    }

    /// The objects that hold the authorities for clients.
    pub(crate) fn bundles(&self) -> BTreeSet<&ObjectRef> {
        self.validations().flat_map(|validation| &validation.refs).filter_map(|one| one.object.as_ref()).collect()
    }

    /// The addresses that it asks for and that are such.
    pub(crate) fn ips(&self) -> impl Iterator<Item = IpAddr> {
        let of_type = self.addresses.iter().filter(|(kind, _)| &**kind == "IPAddress");
        of_type.filter_map(|(_, value)| value.as_ref()?.parse().ok())
    }

    /// Its place among others: oldest first.
    pub(crate) fn age(&self) -> crate::ingress::Age {
        let name = &self.reference;
        (self.created.is_none(), self.created.clone(), name.namespace.clone(), name.name.clone())
    }
}

impl Listener {
    /// The Secrets that it refers to.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &Key> {
        let certificates = self.tls.iter().flat_map(|tls| &tls.certificates);
        certificates.filter(|one| one.secret).map(|one| &one.key)
    }

    /// Parses one of a Gateway, or of a ListenerSet.
    pub(super) fn parse(namespace: &Name, field: &str, listener: &GatewayListeners, faults: &mut Faults) -> Option<Self> {
        let host = match listener.hostname.as_deref().filter(|text| !text.is_empty()).map(hostname) {
            None => Some(HostPattern::Any),
            Some(Ok(host)) => Some(host),
            Some(Err(why)) => {
                let message = format!("{:?} {why}: the listener isn't served", listener.hostname.as_deref().unwrap_or_default());
                let advice = "write a DNS name in lower case, or *. and one";
                faults.error(format!("{field}.hostname"), Reason::InvalidValue, message, advice);
                None
            }
        };
        let port = validate::port_number(listener.port);
        if port.is_none() {
            let message = format!("{} isn't a port: the listener isn't served", listener.port);
            faults.error(format!("{field}.port"), Reason::InvalidValue, message, "write a number from 1 to 65535");
        }
        let allowed = listener.allowed_routes.as_ref();
        let kinds = allowed.and_then(|allowed| allowed.kinds.as_ref()).into_iter().flatten();
        Some(Self {
            name: listener.name.as_str().into(),
            port: port?,
            protocol: listener.protocol.as_str().into(),
            hostname: host?,
            tls: listener.tls.as_ref().map(|tls| Tls::parse(namespace, tls)),
            namespaces: allowed.map_or(Namespaces::Same, namespaces),
            kinds: kinds.map(|kind| (kind.group.as_deref().unwrap_or(GROUP).into(), kind.kind.as_str().into())).collect(),
        })
    }
}

impl Tls {
    fn parse(namespace: &Name, tls: &GatewayListenersTls) -> Self {
        let certificates = tls.certificate_refs.iter().flatten().map(|one| {
            CertificateRef::parse(namespace, (one.group.as_deref(), one.kind.as_deref()), one.namespace.as_deref(), &one.name)
        });
        Self { passthrough: tls.mode == Some(GatewayListenersTlsMode::Passthrough), certificates: certificates.collect() }
    }
}

impl CertificateRef {
    fn parse(from: &Name, (group, kind): (Option<&str>, Option<&str>), namespace: Option<&str>, name: &str) -> Self {
        let namespace = namespace.map_or_else(|| from.clone(), Name::from);
        let (group, kind) = (group.unwrap_or_default(), kind.unwrap_or("Secret"));
        let secret = group.is_empty() && kind == "Secret";
        Self { secret, what: format!("{kind} {namespace}/{name}"), key: (namespace, name.into()) }
    }
}

fn clients(namespace: &Name, tls: Option<&GatewayTls>) -> Option<Validation> {
    let validation = tls?.frontend.as_ref()?.default.validation.as_ref()?;
    let refs = validation.ca_certificate_refs.iter();
    let refs = refs.map(|one| AuthorityRef::parse(namespace, (&one.group, &one.kind), one.namespace.as_deref(), &one.name));
    let insecure_fallback = validation.mode == Some(DefaultMode::AllowInsecureFallback);
    Some(Validation { refs: refs.collect(), insecure_fallback })
}

fn clients_by_port(namespace: &Name, tls: Option<&GatewayTls>) -> BTreeMap<u16, Option<Validation>> {
    let frontend = tls.and_then(|tls| tls.frontend.as_ref());
    let ports = frontend.and_then(|frontend| frontend.per_port.as_ref()).into_iter().flatten();
    let validation = |validation: &PerPortValidation| {
        let refs = validation.ca_certificate_refs.iter();
        let refs = refs.map(|one| AuthorityRef::parse(namespace, (&one.group, &one.kind), one.namespace.as_deref(), &one.name));
        let insecure_fallback = validation.mode == Some(PerPortMode::AllowInsecureFallback);
        Validation { refs: refs.collect(), insecure_fallback }
    };
    ports.filter_map(|one| Some((validate::port_number(one.port)?, one.tls.validation.as_ref().map(validation)))).collect()
}

fn client_certificate(namespace: &Name, tls: Option<&GatewayTls>) -> Option<CertificateRef> {
    let one = tls?.backend.as_ref()?.client_certificate_ref.as_ref()?;
    let kind = (one.group.as_deref(), one.kind.as_deref());
    Some(CertificateRef::parse(namespace, kind, one.namespace.as_deref(), &one.name))
}

fn namespaces(allowed: &GatewayListenersAllowedRoutes) -> Namespaces {
    let Some(namespaces) = &allowed.namespaces else { return Namespaces::Same };
    match (&namespaces.from, &namespaces.selector) {
        (None | Some(From::Same), _) => Namespaces::Same,
        (Some(From::All), _) => Namespaces::All,
        (Some(From::Selector), Some(selector)) => {
            let expressions = selector.match_expressions.iter().flatten();
            let expressions = expressions.map(|one| (&*one.key, &*one.operator, one.values.as_ref()));
            Namespaces::Selector(Selector::parse(selector.match_labels.as_ref(), expressions))
        }
        (Some(From::Selector), None) => Namespaces::None,
    }
}

fn sets(allowed: Option<&GatewayAllowedListeners>) -> Namespaces {
    let Some(namespaces) = allowed.and_then(|allowed| allowed.namespaces.as_ref()) else { return Namespaces::None };
    match (&namespaces.from, &namespaces.selector) {
        (Some(SetsFrom::All), _) => Namespaces::All,
        (Some(SetsFrom::Same), _) => Namespaces::Same,
        (Some(SetsFrom::Selector), Some(selector)) => {
            let expressions = selector.match_expressions.iter().flatten();
            let expressions = expressions.map(|one| (&*one.key, &*one.operator, one.values.as_ref()));
            Namespaces::Selector(Selector::parse(selector.match_labels.as_ref(), expressions))
        }
        (None | Some(SetsFrom::None), _) | (Some(SetsFrom::Selector), None) => Namespaces::None,
    }
}

//! Names: how objects, hosts, Services and listeners are called in a snapshot.
//!
//! Each has one text form, used as map key in JSON and YAML, in logs and in metrics labels.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A shared, immutable string. Names repeat in thousands of rules.
pub type Name = Arc<str>;

/// A text form that could not be read back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?}: expected {expected}")]
pub struct BadName {
    what: &'static str,
    text: String,
    expected: &'static str,
}

/// Serde through `Display` and `FromStr`: one text form in files, logs and maps.
macro_rules! text_form {
    ($name:ty) => {
        impl TryFrom<String> for $name {
            type Error = BadName;
            fn try_from(text: String) -> Result<Self, BadName> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.to_string()
            }
        }
    };
}

/// A Kubernetes object: `Ingress/default/web`; the namespace is empty for cluster-wide kinds (`IngressClass//ours`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectRef {
    /// The kind, as in the object's `kind` field.
    pub kind: Name,
    /// The namespace; empty for cluster-wide kinds.
    pub namespace: Name,
    /// `metadata.name`.
    pub name: Name,
}

impl ObjectRef {
    /// Names an object.
    pub fn new(kind: &str, namespace: &str, name: &str) -> Self {
        Self { kind: kind.into(), namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.kind, self.namespace, self.name)
    }
}

impl FromStr for ObjectRef {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, BadName> {
        let mut parts = text.splitn(3, '/');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(kind), Some(namespace), Some(name)) if !kind.is_empty() => Ok(Self::new(kind, namespace, name)),
            _ => Err(BadName { what: "object", text: text.into(), expected: "Kind/namespace/name" }),
        }
    }
}
text_form!(ObjectRef);

/// A Service port as a route refers to it. Text form: the number or the name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PortRef {
    /// `port.number`.
    Number(u16),
    /// `port.name`.
    Name(Name),
}

impl fmt::Display for PortRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// A Service port that routes send traffic to: `default/web:80` or `default/web:http`.
///
/// A route may override the protocol of a Service (annotation `rust-ingress.dev/backend-protocol`); such a backend is
/// another one with its own connections: `default/web:80+https`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BackendKey {
    /// The Service's namespace.
    pub namespace: Name,
    /// The Service's name.
    pub service: Name,
    /// Which of its ports.
    pub port: PortRef,
    /// What a route says of the protocol; `None` leaves it to the Service's `appProtocol`.
    pub protocol: Option<crate::app_protocol::AppProtocol>,
    /// Namespace and name of the Gateway whose client certificate its connections present; `None`: none is presented.
    pub gateway: Option<(Name, Name)>,
}

impl fmt::Display for BackendKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:{}", self.namespace, self.service, self.port)?;
        if let Some(protocol) = self.protocol {
            write!(f, "+{protocol}")?;
        }
        match &self.gateway {
            Some((namespace, name)) => write!(f, "@{namespace}/{name}"),
            None => Ok(()),
        }
    }
}

impl FromStr for BackendKey {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, BadName> {
        let bad = || BadName { what: "backend", text: text.into(), expected: "namespace/service:port[+protocol][@gateway]" };
        let (text, gateway) = match text.split_once('@') {
            Some((text, gateway)) => (text, Some(gateway.split_once('/').ok_or_else(bad)?)),
            None => (text, None),
        };
        let gateway = gateway.map(|(namespace, name)| (namespace.into(), name.into()));
        let (namespace, rest) = text.split_once('/').ok_or_else(bad)?;
        let (service, port) = rest.split_once(':').ok_or_else(bad)?;
        let (port, protocol) = match port.split_once('+') {
            Some((port, protocol)) => (port, Some(protocol.parse().map_err(|()| bad())?)),
            None => (port, None),
        };
        let port = port.parse().map_or_else(|_| PortRef::Name(port.into()), PortRef::Number);
        Ok(Self { namespace: namespace.into(), service: service.into(), port, protocol, gateway })
    }
}
text_form!(BackendKey);

/// Which hosts a virtual host answers for.
///
/// Order is precedence: exact names first, then the wildcard with the longer suffix, one label before any labels,
/// and `Any` last. Text forms: `foo.com`, `*.foo.com` (one label, Ingress), `**.foo.com` (any labels, Gateway API), `*`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum HostPattern {
    /// One name, in lower case.
    Exact(Name),
    /// `*.suffix` with exactly one label for the star (Ingress v1).
    OneLabel(Name),
    /// `*.suffix` with one or more labels for the star (Gateway API).
    AnyLabels(Name),
    /// All hosts that nothing else claims.
    Any,
}

impl HostPattern {
    /// Precedence as a key: lower sorts, and wins, first.
    fn rank(&self) -> (u8, std::cmp::Reverse<usize>, u8, &str) {
        match self {
            Self::Exact(host) => (0, std::cmp::Reverse(0), 0, host),
            Self::OneLabel(suffix) => (1, std::cmp::Reverse(suffix.len()), 0, suffix),
            Self::AnyLabels(suffix) => (1, std::cmp::Reverse(suffix.len()), 1, suffix),
            Self::Any => (2, std::cmp::Reverse(0), 0, ""),
        }
    }

    /// Whether a host (lower case, without port) falls under this pattern.
    pub fn matches(&self, host: &str) -> bool {
        let star = |suffix: &str| host.strip_suffix(suffix).and_then(|rest| rest.strip_suffix('.'));
        match self {
            Self::Exact(name) => **name == *host,
            Self::OneLabel(suffix) => star(suffix).is_some_and(|label| !label.is_empty() && !label.contains('.')),
            Self::AnyLabels(suffix) => star(suffix).is_some_and(|labels| !labels.is_empty()),
            Self::Any => true,
        }
    }
}

impl HostPattern {
    /// Whether some host falls under both patterns.
    pub fn meets(&self, other: &Self) -> bool {
        let below = |one: &str, other: &str| one == other || one.strip_suffix(other).is_some_and(|rest| rest.ends_with('.'));
        match (self, other) {
            (Self::Any, _) | (_, Self::Any) => true,
            (Self::Exact(host), pattern) | (pattern, Self::Exact(host)) => pattern.matches(host),
            (Self::OneLabel(one), Self::OneLabel(other)) => one == other,
            (Self::AnyLabels(any), Self::OneLabel(one)) | (Self::OneLabel(one), Self::AnyLabels(any)) => below(one, any),
            (Self::AnyLabels(one), Self::AnyLabels(other)) => below(one, other) || below(other, one),
        }
    }
}

impl PartialOrd for HostPattern {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for HostPattern {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => f.write_str(host),
            Self::OneLabel(suffix) => write!(f, "*.{suffix}"),
            Self::AnyLabels(suffix) => write!(f, "**.{suffix}"),
            Self::Any => f.write_str("*"),
        }
    }
}

impl FromStr for HostPattern {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, BadName> {
        let pattern = match (text, text.strip_prefix("**."), text.strip_prefix("*.")) {
            ("*", _, _) => Self::Any,
            (_, Some(suffix), _) => Self::AnyLabels(suffix.into()),
            (_, _, Some(suffix)) => Self::OneLabel(suffix.into()),
            _ => Self::Exact(text.into()),
        };
        match text.trim_start_matches('*') {
            "" if text != "*" => Err(BadName { what: "host", text: text.into(), expected: "a name, *.name, **.name or *" }),
            _ => Ok(pattern),
        }
    }
}
text_form!(HostPattern);

/// Names one listener: `http`, `https`, later `gateway/ns/name/section`.
pub type ListenerName = Name;

/// Names the set of virtual hosts a listener serves. Both listeners of Ingress serve the set `ingress`.
pub type RouteSetName = Name;

/// What a [`crate::Report`] is about: translation keeps one for each thing that it computes by itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ReportKey {
    /// What is wrong with, or said of, one object by itself.
    Object(ObjectRef),
    /// Conflicts between objects on one virtual host.
    Host(HostPattern),
    /// A Service port that routes refer to.
    Backend(BackendKey),
}

impl fmt::Display for ReportKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object(object) => write!(f, "object {object}"),
            Self::Host(host) => write!(f, "host {host}"),
            Self::Backend(backend) => write!(f, "backend {backend}"),
        }
    }
}

impl FromStr for ReportKey {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, BadName> {
        match text.split_once(' ') {
            Some(("object", rest)) => rest.parse().map(Self::Object),
            Some(("host", rest)) => rest.parse().map(Self::Host),
            Some(("backend", rest)) => rest.parse().map(Self::Backend),
            _ => Err(BadName { what: "report", text: text.into(), expected: "object, host or backend and its name" }),
        }
    }
}
text_form!(ReportKey);

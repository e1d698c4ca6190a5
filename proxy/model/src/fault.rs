//! Faults: what is wrong with an object, in which field, and what to do; and verdicts on foreign annotations.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::names::ObjectRef;

/// How much of the object a fault takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// Something that the object asks for isn't served.
    Error,
    /// Served, but perhaps not as meant.
    Warning,
}

/// Which rule is broken. The text form is what Events, `check` and golden files show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Reason {
    /// A field has a value that its type or the Kubernetes API doesn't allow.
    InvalidValue,
    /// A field that must be there isn't.
    Required,
    /// A Service that a backend names isn't there.
    ServiceNotFound,
    /// A Service is there, but not that port.
    PortNotFound,
    /// A Service port has no endpoint that can be used.
    NoEndpoints,
    /// A Service type or mode that isn't served here.
    UnsupportedService,
    /// A backend that isn't a Service.
    UnsupportedBackend,
    /// An endpoint's address can't be used.
    InvalidEndpoint,
    /// A Secret that `tls` names isn't there.
    SecretNotFound,
    /// A Secret is there, but isn't a usable certificate and key.
    InvalidCertificate,
    /// A certificate that doesn't cover a host it is named for.
    CertificateMismatch,
    /// An older object has the same host and path, or the same host's certificate.
    Conflict,
    /// An IngressClass that isn't there.
    ClassNotFound,
    /// Several classes say that they are the default.
    ManyDefaultClasses,
    /// An annotation that guards and isn't supported: its routes answer 503.
    UnsupportedGuard,
    /// An annotation that isn't supported and guards nothing.
    UnsupportedAnnotation,
    /// An annotation with a prefix that we know and a name that we don't.
    UnknownAnnotation,
    /// An annotation whose value can't be read.
    InvalidAnnotation,
    /// No address is left in any pool that the object may have one of.
    PoolExhausted,
    /// An address that is asked for is in no pool that the object may have one of.
    AddressNotInPool,
    /// Something that is only for manifest folders.
    FilesOnly,
    /// A document that can't be read.
    InvalidDocument,
    /// A kind that isn't used here.
    UnknownKind,
    /// The same object twice.
    Duplicate,
    /// A listener that can't be opened.
    ListenerUnavailable,
    /// A reference into another namespace that no ReferenceGrant there allows.
    RefNotPermitted,
    /// A route that no listener takes.
    NotAttached,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What is wrong with one object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// The object to blame.
    pub object: ObjectRef,
    /// The field, as a path: `spec.rules[0].http.paths[1].backend.service.name`.
    pub field: String,
    /// How bad.
    pub severity: Severity,
    /// Which rule is broken.
    pub reason: Reason,
    /// What happened.
    pub message: String,
    /// What to do about it.
    pub advice: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}: {}; {}", self.object, self.field, self.reason, self.message, self.advice)
    }
}

/// What became of one foreign annotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum VerdictKind {
    /// It does here what it did there.
    Works,
    /// It has no effect here and needs none.
    NoEffect,
    /// It isn't supported (yet).
    Unsupported,
    /// It isn't supported, it guards, and its routes therefore answer 503.
    Refused,
    /// It isn't supported, it guards, and `rust-ingress.dev/accept-unsupported` names it: the routes go unguarded.
    Accepted,
    /// No such annotation is known.
    Unknown,
}

/// The verdict on one `nginx.ingress.kubernetes.io/…` annotation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// The annotation's full name.
    pub annotation: String,
    /// What became of it.
    pub kind: VerdictKind,
    /// Why, in a sentence.
    pub note: String,
}

/// All that is said of one thing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What is wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
    /// Verdicts on annotations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verdicts: Vec<Verdict>,
}

impl Report {
    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.faults.is_empty() && self.verdicts.is_empty()
    }
}

//! The shared language of rust-ingress: what translation writes and the data plane reads.
//!
//! Plain data with serde both ways and `Eq`, so that a [`Snapshot`] can be written to disk, printed and compared;
//! the precedence of routes as an `Ord`, with a linear oracle and a fast index; no I/O, no clock, no runtime.
//! Controller and proxy meet only here.

#![forbid(unsafe_code)]

pub mod app_protocol;
pub mod backend;
pub mod digest;
pub mod fault;
pub mod filter;
pub mod head;
pub mod index;
pub mod keystore;
pub mod l4;
pub mod listener;
pub mod matcher;
pub mod names;
pub mod parts;
pub mod precedence;
pub mod route;
pub mod snapshot;
pub mod status;

pub use app_protocol::AppProtocol;
pub use backend::{Backend, BackendRef, Discovery, Endpoint};
pub use digest::{Digest, Part};
pub use fault::{Fault, Reason, Report, Severity, Verdict, VerdictKind};
pub use filter::{Filter, Guard, NativeFilter};
pub use head::RequestHead;
pub use index::{HostIndex, RouteIndex};
pub use keystore::{Fingerprint, KeyPair, KeyStore};
pub use listener::{Certificate, ClientCertificates, Listener, ListenerAddress, Parent, Protocol, Section, TlsSet};
pub use names::{BackendKey, HostPattern, ListenerName, Name, ObjectRef, PortRef, ReportKey, RouteSetName};
pub use parts::PartMap;
pub use route::{PathMatch, RouteMatch, Rule, Timeouts, VirtualHost, WeightedBackend};
pub use snapshot::{RouteSet, Snapshot};
pub use status::StatusPlan;

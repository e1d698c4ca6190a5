//! Services at L4: what the node agent programs into the kernel, as plain data.
//!
//! Translation writes [`service::L4Service`]s, the same on every node, into the snapshot. What one node makes of them depends
//! on [`node::NodeFacts`] and [`node::L4Settings`]. The rules are fixed ([`ruleset`]); all state is in the elements of their sets and maps ([`element`]).
//! The agent in `proxy/src/agent` encodes both as netlink bytes; the same values are rendered as text for `agent render` and tests.

pub mod element;
pub mod explain;
pub mod l7;
pub mod node;
pub mod node_plan;
pub mod placement;
pub mod plan;
pub mod pool;
pub mod redirect;
pub mod rule;
pub mod ruleset;
pub mod service;
pub mod service_plan;
pub mod set;
pub mod text;
pub mod vet;
pub mod view;

pub use element::{Data, Element, Field, Frontend, Key, NodePort, Verdict};
pub use node::{EgressSnat, L4Settings, LocalPods, LoopbackPorts, NodeFacts, NodePortAddresses};
pub use plan::{Plan, PlanChange};
pub use pool::{AddressRange, Pool};
pub use rule::{Base, By, Chain, ChainName, Hook, Load, Rule, Step};
pub use ruleset::Ruleset;
pub use service::{L4Endpoint, L4Port, L4Service, L7, TrafficPolicy, Transport};
pub use service_plan::{ServicePlan, plan_service};
pub use set::{DataType, Family, FieldType, Set, SetName};

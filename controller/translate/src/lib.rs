//! Kubernetes objects in, a snapshot out: the pure centre of rust-ingress.
//!
//! A source (a cluster, a folder of manifests) applies [`Change`]s to a [`World`]; the World parses each object once, at the
//! door, and knows what each change makes dirty. [`translate`] computes the dirty parts again and shares the rest with the
//! previous snapshot: its cost is proportional to the change, and its result equals translation from nothing.
//! No clock, no I/O, no logging. The driver of the controller calls it, and so does `rust-ingress check`.

#![forbid(unsafe_code)]

mod annotation;
mod backend;
mod certificate;
mod dirty;
mod faults;
mod gateway;
mod ingress;
mod l4;
mod object;
pub mod pool;
mod settings;
mod translate;
mod world;

pub use dirty::Dirty;
pub use gateway::parameters::{GatewayParameters, GatewayParametersSpec};
pub use gateway::types as gateway_api;
pub use object::{Change, Object};
pub use settings::{DefaultCertificate, Origin, Settings};
pub use translate::translate;
pub use world::World;

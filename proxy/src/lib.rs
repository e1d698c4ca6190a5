//! The data plane of rust-ingress: listeners, TLS, the life of a request, upstream pools, observation.
//!
//! It reads snapshots of `rust-ingress-model` and knows nothing of Kubernetes. One current-thread runtime per core serves
//! requests; another one serves health, metrics and the admin port. See `LIFECYCLE.md` for the stages of a request.

#![forbid(unsafe_code)]

pub mod agent;
mod authorities;
pub mod body;
mod cors;
pub mod exchange;
pub mod fault;
pub mod feed;
pub mod filters;
pub mod forward;
pub mod gate;
pub mod headers;
pub mod life;
pub mod lifecycle;
pub mod local;
pub mod observe;
pub mod options;
pub mod proxy;
pub mod relay;
pub mod respond;
pub mod route;
pub mod server;
pub mod table;
pub mod upgrade;
pub mod upstream;

pub use proxy::{Proxy, PublishFault, Pulse, StartError};

//! The data plane of rust-ingress: listeners, TLS, the life of a request, upstream pools, observation.
//!
//! It reads snapshots of `rust-ingress-model` and knows nothing of Kubernetes. One current-thread runtime per core serves
//! requests; another one serves health, metrics and the admin port. See `LIFECYCLE.md` for the stages of a request.

#![forbid(unsafe_code)]

pub mod body;
pub mod exchange;
pub mod fault;
pub mod filters;
pub mod forward;
pub mod headers;
pub mod observe;
pub mod options;
pub mod respond;
pub mod upstream;

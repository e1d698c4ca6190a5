//! rust-ingress: an L7 Ingress controller and proxy for Kubernetes, in one program.
//!
//! `source` says what changed, `driver` keeps the World, translates it and publishes to the proxy, `cli` is what users call.

#![forbid(unsafe_code)]

pub mod builtin;
pub mod certificate;
pub mod child;
pub mod cli;
pub mod driver;
pub mod last_good;
pub mod placement;
pub mod plane;
pub mod sandbox;
pub mod source;
pub mod status;

//! The proxy-wasm host of rust-ingress.
//!
//! What stands today is the wire form in which ABI 0.2.1 passes maps between host and guest: [`pairs`]. The host that runs
//! modules comes on top of it.

#![forbid(unsafe_code)]

pub mod pairs;

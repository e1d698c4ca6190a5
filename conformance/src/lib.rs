//! Suites, rigs and benches of rust-ingress. Never shipped. `main.rs` is the tool; `tests/house` holds the house rules.
#![forbid(unsafe_code)]

pub mod bench;
pub mod built;
pub mod chart;
pub mod cluster;
pub mod control_plane;
pub mod image;
pub mod load;
pub mod suite;
pub mod swap;

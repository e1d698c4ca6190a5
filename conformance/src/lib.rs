//! Suites, rigs and benches of rust-ingress. Never shipped.

//! The proxy-wasm host of rust-ingress.

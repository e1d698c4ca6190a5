//! The proxy-wasm host of rust-ingress: its room, so that manifests and rules name it; it has no code before plugins exist.

#![forbid(unsafe_code)]

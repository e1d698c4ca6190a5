//! Kubernetes objects in, a snapshot out: the pure centre of rust-ingress.

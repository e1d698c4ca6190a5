//! rust-ingress: an L7 Ingress controller and proxy for Kubernetes, in one program.

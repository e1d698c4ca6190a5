//! Container images, written by ourselves: no container engine and no image registry is needed to make one.

pub mod oci;

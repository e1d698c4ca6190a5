//! Sources: where Kubernetes objects come from. Each turns what it watches into `Change`s for the driver's World.
//!
//! `files` reads a folder of manifests; the cluster source fills the same World.

pub mod cluster;
pub mod files;
pub mod kinds;
pub mod yaml;

//! The file source: a folder, recursively, of ordinary Kubernetes YAML, watched.
//!
//! `listing` finds the files, `manifest` reads one, `folder` keeps what all of them say and tells what changed, `watch` runs
//! it when the folder changes. Called by `cli/run`, and by `cli/check` for one look without watching.

mod folder;
mod listing;
mod manifest;
mod watch;

pub use folder::{Folder, Said, Scan};
pub use watch::{Watch, WatchError};

/// The kind that faults of files carry: `File//sub/web.yaml`.
pub const FILE: &str = "File";

//! The last good state: what was served last, on disk, so that a restart without an API server serves it (DESIGN.md,
//! decision 17).
//!
//! A folder of our own (0700) with two files (0600): `snapshot`, JSON, and `keys`, bytes. Each has a header with its format
//! and a SHA-256; each is replaced whole. A file that is damaged, of another format, or that others could have written is set
//! aside and not served.
//!
//! `run` in a cluster opens the [`Store`] and publishes what [`Store::load`] gives before it waits for the API server; the
//! [`Keeper`] is a subscriber of the driver.

mod file;
mod keeper;
mod store;

pub use file::FileError;
pub use keeper::Keeper;
pub use store::{LastGood, Store, StoreError};

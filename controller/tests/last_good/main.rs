//! The last good state on disk: written as it was, read only if it is whole and ours.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod refused;
mod written;

//! The proxy in a process of its own: real processes, real sockets. The tests are the parent.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod certificates;
mod confined;
mod differences;
mod feed;
mod killed;
mod restarted;
mod serves;
mod succeeded;
mod support;

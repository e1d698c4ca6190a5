//! The server side: worker threads, listening sockets, connections. What a request does is in [`crate::lifecycle`].
//!
//! ```text
//! worker ─ accept ─ (PROXY protocol) ─ tls ─ connection ─ io (gate/wire) ─ hyper ─ lifecycle
//! ```

pub mod accept;
pub mod bytes;
pub mod client;
mod clients;
pub mod connection;
pub mod core;
pub mod door;
pub mod io;
pub mod link;
pub mod open;
pub mod proxy_protocol;
pub mod signal;
pub mod sockets;
pub mod stream;
pub mod tls;
pub mod worker;

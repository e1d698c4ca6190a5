//! The forward path over real sockets: a small front server in place of the listeners, real hyper endpoints and raw TCP
//! endpoints that misbehave.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod balance;
mod faults;
mod h2;
mod plain;
mod pool;
mod proxy;
mod rig;
mod tls;

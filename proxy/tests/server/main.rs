//! The server side of the proxy over real sockets, with ordinary and with hostile clients.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod basics;
mod clients;
mod drain;
mod filters;
mod gate;
mod h2;
mod limits;
mod listeners;
mod proxy_protocol;
mod records;
mod relay;
mod sizes;
mod support;
mod tls;
mod upgrade;
mod wire;

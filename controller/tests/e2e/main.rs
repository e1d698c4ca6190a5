//! End to end: the real program, started as users start it, asked over real sockets.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod agent;
mod check;
mod client;
mod cluster_flags;
mod command_line;
mod drain;
mod flags;
mod gateway;
mod gateway_grpc;
mod gateway_tls;
mod live;
mod program;
mod quickstart;
mod routes;

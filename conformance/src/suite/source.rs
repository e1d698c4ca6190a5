//! `suite source`: the program against a real API server without nodes: what it learns and when, through restarts, expired
//! watches, missing rights and Secrets that come and go.
//!
//! What is served is read from the program's own `/snapshot` and asked over HTTP and TLS; endpoints don't exist here, so a
//! route that is live answers 503, one that isn't 404.

mod cases;
mod objects;
mod rig;

use anyhow::Result;
use clap::Args;

use super::Report;
use crate::control_plane::ControlPlane;

/// Nothing to choose.
#[derive(Debug, Args)]
pub struct Arguments {}

/// Runs the suite.
pub fn run(_: &Arguments) -> Result<Report> {
    let mut plane = ControlPlane::start()?;
    let version = plane.kubectl(&["version", "-o", "json"])?;
    let version: serde_json::Value = serde_json::from_str(&version)?;
    let version = version.pointer("/serverVersion/gitVersion").and_then(serde_json::Value::as_str).unwrap_or("unknown");
    let mut report = Report::new("source", format!("etcd and kube-apiserver {version} on loopback, no nodes"));
    cases::all(&mut plane, &mut report);
    Ok(report)
}

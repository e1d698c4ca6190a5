//! `rust-ingress agent check`: what of this node stands in the agent's way. Changes nothing.
//!
//! Exit status 1 where Services wouldn't work.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use rust_ingress_proxy::agent::survey::{Facts, Finding, Level, findings};
use serde_json::json;

#[derive(Args)]
pub(super) struct CheckArgs {
    /// How the result is written
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    Text,
    Json,
}

pub(super) fn check(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let facts = Facts::gather().context("can't list the chains of nf_tables; run as root or with CAP_NET_ADMIN")?;
    let found = findings(&facts);
    let text = match args.output {
        Output::Text => text(&found),
        Output::Json => format!("{:#}\n", json!(found.iter().map(json).collect::<Vec<_>>())),
    };
    // A reader that has read enough closes the pipe; the status still tells.
    drop(std::io::stdout().lock().write_all(text.as_bytes()));
    Ok(ExitCode::from(u8::from(found.iter().any(|finding| finding.level == Level::Error))))
}

fn text(found: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { level, what, advice } in found {
        // Writing into memory can't fail.
        let _ = writeln!(text, "{:<8} {what}", name(*level));
        if !advice.is_empty() {
            let _ = writeln!(text, "         {advice}");
        }
    }
    let count = |level| found.iter().filter(|finding| finding.level == level).count();
    let _ = writeln!(text, "{} errors, {} warnings", count(Level::Error), count(Level::Warning));
    text
}

fn json(Finding { level, what, advice }: &Finding) -> serde_json::Value {
    json!({"level": name(*level), "what": what, "advice": advice})
}

fn name(level: Level) -> &'static str {
    match level {
        Level::Good => "ok",
        Level::Warning => "warning",
        Level::Error => "error",
    }
}

//! `rust-ingress agent render`: the plan of a node as nft text. It programs nothing; `nft -c -f` would take it.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Args;
use rust_ingress_model::l4::Family;
use rust_ingress_model::l4::text::AddElements;

use super::source::SourceArgs;

#[derive(Args)]
pub(super) struct RenderArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// Print the elements alone: the rules are the same on every node
    #[arg(long)]
    elements: bool,
}

pub(super) fn render(args: &RenderArgs) -> anyhow::Result<ExitCode> {
    let (plan, holders) = args.source.plan()?;
    let mut text: String = holders.all().map(|holder| format!("# {holder}\n")).collect();
    if !args.elements {
        text.extend(Family::BOTH.map(|family| plan.ruleset(family).to_string()));
    }
    text.push_str(&AddElements(&plan.elements()).to_string());
    // A reader that has read enough closes the pipe.
    drop(std::io::stdout().lock().write_all(text.as_bytes()));
    Ok(ExitCode::SUCCESS)
}

//! `rust-ingress agent explain`: what a node does with the first packet of a connection: which elements match, where it may go,
//! whose address it has then, and why.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Args;
use rust_ingress_model::l4::explain::Packet;

use super::source::SourceArgs;

#[derive(Args)]
pub(super) struct ExplainArgs {
    /// The packet, such as "tcp 10.244.1.7:40000 -> 10.96.0.10:53"; may be repeated
    #[arg(long, value_name = "PACKET", required = true)]
    packet: Vec<Packet>,
    #[command(flatten)]
    source: SourceArgs,
}

pub(super) fn explain(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let (plan, holders) = args.source.plan()?;
    let explained = args.packet.iter().map(|packet| {
        let explained = rust_ingress_model::l4::explain::explain(&plan, packet).to_string();
        match holders.of_address(packet.destination.ip()) {
            Some(holder) => format!("{}\n{holder}\n", explained.trim_end()),
            None => explained,
        }
    });
    let text = explained.collect::<Vec<String>>().join("\n");
    // A reader that has read enough closes the pipe.
    drop(std::io::stdout().lock().write_all(text.as_bytes()));
    Ok(ExitCode::SUCCESS)
}

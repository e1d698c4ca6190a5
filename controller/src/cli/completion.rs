//! `rust-ingress completion SHELL`: a completion script on standard output.

use std::process::ExitCode;

use clap::{Args, CommandFactory as _};

#[derive(Args)]
pub(super) struct CompletionArgs {
    /// The shell to complete for
    shell: clap_complete::Shell,
}

pub(super) fn completion(args: &CompletionArgs) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "rust-ingress", &mut script);
    // A reader that has read enough closes the pipe; that is no failure of ours.
    match std::io::Write::write_all(&mut std::io::stdout().lock(), &script) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

//! The program's own log, on standard error: its flags, and how it is started. `run` and `proxy` have the same one.

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

#[derive(Args)]
pub(super) struct LogArgs {
    /// How much the program says of itself: error, warn, info, debug, trace, or a filter such as info,rust_ingress=debug
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = log_filter)]
    log_level: String,
    /// The form of that log, on standard error
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

fn log_filter(text: &str) -> Result<String, String> {
    EnvFilter::builder().parse(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

impl LogArgs {
    /// Starts the log.
    pub(super) fn start(&self) -> anyhow::Result<()> {
        // What a watch runs into is said by the cluster source, once and with advice; who wants kube's own words names it.
        let filter = EnvFilter::builder().parse(format!("kube_runtime=off,kube_client=off,{}", self.log_level))?;
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
        let started = match self.log_format {
            LogFormat::Text => log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
            LogFormat::Json => log.json().flatten_event(true).try_init(),
        };
        started.map_err(|error| anyhow::anyhow!("can't start the log: {error}"))
    }

    /// The same flags, for a process that we start.
    pub(super) fn flags(&self) -> Vec<String> {
        let format = match self.log_format {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        };
        vec![format!("--log-level={}", self.log_level), format!("--log-format={format}")]
    }
}

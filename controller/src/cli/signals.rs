//! Signals: SIGTERM and SIGINT ask for a drain; a second one ends the program at once. Called by `run`.

use std::io;

/// The exit status after a second signal, as a shell shows SIGINT.
const INTERRUPTED: i32 = 130;

/// Calls `stop` at the first signal. The signals are caught when this returns.
#[expect(clippy::disallowed_methods, reason = "a second signal asks for an end without the drain")]
pub(super) fn on_stop(stop: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let mut signals = {
        let _guard = runtime.enter();
        Signals::new()?
    };
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async move {
            let name = signals.next().await;
            tracing::info!("{name}: draining; a second signal ends the program at once");
            stop();
            signals.next().await;
            std::process::exit(INTERRUPTED);
        });
    })?;
    Ok(())
}

#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> &'static str {
        match tokio::signal::ctrl_c().await {
            Ok(()) => "interrupt",
            Err(_) => std::future::pending().await,
        }
    }
}

//! Minds the child: starts it, hears what it says, and starts it again when it dies. A thread of its own.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child as Process, Command};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rust_ingress_proxy::feed::{Answer, Answers, FeedError, Orders};
use rustix::process::Pid;

use super::ChildOptions;
use super::state::Shared;

/// Orders that the child doesn't take for so long end it: it is stuck.
const WRITE_WAIT: Duration = Duration::from_secs(10);
/// A child says several times a second that it is alive. Within this the kernel has taken it for gone.
const BEATS: Duration = Duration::from_secs(1);
/// So many of these in a row, and it is stuck: far beyond what a machine under load takes, well within what clients wait for.
const SILENCES: u32 = 5;
/// Starts in a row that came to nothing and are made good at once; more are waited for. A child that has served is always
/// followed at once: whatever ended it, the others' connections wait.
const AT_ONCE: u32 = 3;
/// The first wait; it doubles.
const WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// A child that runs.
pub(super) struct Running {
    process: Process,
    answers: Answers,
}

/// Starts a child and tells it all.
pub(super) fn launch(shared: &Shared) -> anyhow::Result<Running> {
    shared.change(|state| state.served = false);
    let (ours, theirs) = UnixStream::pair().context("no socket pair for the proxy's process; check ulimit -n")?;
    ours.set_write_timeout(Some(WRITE_WAIT))?;
    let process = spawn(&shared.options, theirs)?;
    let answers = Answers::new(ours.try_clone()?);
    let pid = Pid::from_child(&process);
    shared.change(|state| {
        let sent = state.take_on(pid, Orders::new(ours), &shared.options);
        state.check(sent);
    });
    Ok(Running { process, answers })
}

/// The child gets nothing of ours but its socket, standard output and standard error: no environment, and all other files
/// close on exec. A process group of its own keeps the terminal's Ctrl-C from it: it ends when it is told to.
fn spawn(options: &ChildOptions, socket: UnixStream) -> anyhow::Result<Process> {
    let mut command = Command::new(&options.program);
    command.arg0("rust-ingress").arg("proxy").args(&options.flags).env_clear().process_group(0).stdin(OwnedFd::from(socket));
    if let Some(backtrace) = std::env::var_os("RUST_BACKTRACE") {
        command.env("RUST_BACKTRACE", backtrace);
    }
    command.spawn().with_context(|| format!("can't start {} for the proxy's process", options.program.display()))
}

/// Minds a child, and its successors, until the end.
pub(super) fn supervise(shared: &Arc<Shared>, first: Running) {
    let mut in_vain = 0;
    let mut running = Some(first);
    loop {
        if let Some(running) = running.take() {
            let end = mind(shared, running);
            if shared.lock().stopping {
                break;
            }
            tracing::error!("the proxy's process ended ({end}); starting it again on the same sockets");
        }
        in_vain = if shared.lock().served { 0 } else { in_vain + 1 };
        if in_vain > AT_ONCE {
            let wait = WAIT.saturating_mul(1 << (in_vain - AT_ONCE).min(10)).min(LONGEST_WAIT);
            shared.wait(wait, |state| state.stopping);
        }
        if shared.change(|state| {
            state.standing.restarts += 1;
            state.stopping
        }) {
            break;
        }
        running = launch(shared).inspect_err(|error| tracing::error!("{error:#}; trying again")).ok();
    }
    shared.change(|state| state.ended = true);
}

/// Hears a child to its end; says how it ended.
fn mind(shared: &Shared, mut running: Running) -> String {
    let mut silent = 0;
    loop {
        match running.answers.receive() {
            // Without the lock's waking of everybody who waits for something to change.
            Ok(Some(Answer::Alive { serves })) => {
                silent = 0;
                if serves {
                    shared.alive();
                }
            }
            Ok(Some(answer)) => {
                if matches!(answer, Answer::Started)
                    && let Err(error) = running.answers.give_up_after(BEATS)
                {
                    tracing::warn!(%error, "a process of the proxy that hangs won't be noticed");
                }
                shared.change(|state| state.hear(answer));
            }
            Ok(None) => break,
            Err(FeedError::Io(error)) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                // While it drains its workers have other things to do, and whoever waits for its end has a limit of its own.
                if shared.lock().stopping {
                    continue;
                }
                shared.lost();
                silent += 1;
                if silent >= SILENCES {
                    tracing::error!("the proxy's process doesn't answer; ending it, to start it again");
                    break;
                }
            }
            Err(error) => {
                tracing::error!(%error, "the proxy's process can't be understood; ending it");
                break;
            }
        }
    }
    shared.lost();
    shared.change(|state| {
        // Its end of the socket is closed: it is dead, or as good as.
        state.orders = None;
        state.kill();
        state.process = None;
    });
    match running.process.wait() {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    }
}

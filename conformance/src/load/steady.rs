//! New connections at a steady rate, whatever becomes of those before, and which path each took: for what falls back. A server that
//! answers with the request's headers tells: the L7 proxy adds `X-Request-Id`.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(3);
/// Within this the direct path is to be taken: the second of the kernel's element, and what a loaded machine adds.
const SWITCHED: u64 = 1500;
/// What a connect may take once the switch has fallen, and when that is.
const SLOW: u64 = 1000;
const FIRST: u64 = 1000;
/// Fewer questions than this through the proxy before an event show nothing.
const LEAST: usize = 10;

/// Where to, and how often.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// Where to connect
    #[arg(long)]
    to: SocketAddr,
    /// Milliseconds between two connections
    #[arg(long, default_value_t = 5)]
    every: u64,
}

/// One question.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Asked {
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// From the connect to the answer, in milliseconds.
    pub took: u64,
    /// Whether it went through the proxy; or what failed.
    pub answer: Result<bool, String>,
}

/// Asks until somebody closes standard input, and prints what came of it.
///
/// # Errors
/// Standard output is closed.
pub fn run(arguments: &Arguments) -> Result<()> {
    let asking = Asking::start(arguments.to, Duration::from_millis(arguments.every));
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    println!("{}", serde_json::to_string(&asking.stop()?)?);
    Ok(())
}

/// Milliseconds since 1970.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Questions on a thread of this process, in the network namespace of the thread that starts it.
pub struct Asking {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Vec<JoinHandle<Asked>>>,
}

impl Asking {
    /// Begins.
    pub fn start(to: SocketAddr, every: Duration) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let told = over.clone();
        let thread = thread::spawn(move || {
            let mut asking = Vec::new();
            while !told.load(Ordering::Relaxed) {
                asking.push(thread::spawn(move || {
                    let at = now();
                    let answer = ask(to).map_err(|error| format!("{error:#}"));
                    Asked { at, took: now().saturating_sub(at), answer }
                }));
                thread::sleep(every);
            }
            asking
        });
        Self { over, thread }
    }

    /// Ends, and gives what came of it, in the order of asking.
    ///
    /// # Errors
    /// A thread panicked.
    pub fn stop(self) -> Result<Vec<Asked>> {
        self.over.store(true, Ordering::Relaxed);
        let asking = self.thread.join().map_err(|_| anyhow!("the clients' thread panicked"))?;
        asking.into_iter().map(|asked| asked.join().map_err(|_| anyhow!("a client panicked"))).collect()
    }
}

/// Asks once; whether the proxy stood between.
fn ask(to: SocketAddr) -> Result<bool> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE).context("connect")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n").context("write")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).context("read")?;
    let answer = String::from_utf8_lossy(&answer).to_ascii_lowercase();
    ensure!(answer.starts_with("http/1.1 200"), "{:?}", answer.lines().next().unwrap_or("no answer"));
    let (_, body) = answer.split_once("\r\n\r\n").context("half an answer")?;
    Ok(body.contains("x-request-id"))
}

/// Questions from a process of this tool, in whatever namespace.
pub struct Elsewhere(Child);

impl Elsewhere {
    /// Begins; `command` runs this tool.
    ///
    /// # Errors
    /// The process can't be started.
    pub fn start(mut command: Command, to: SocketAddr, every: Duration) -> Result<Self> {
        command.args(["steady", "--to", &to.to_string(), "--every", &every.as_millis().to_string()]);
        Ok(Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("starting the clients")?))
    }

    /// Ends, and gives what came of it.
    ///
    /// # Errors
    /// The process failed.
    pub fn stop(mut self) -> Result<Vec<Asked>> {
        drop(self.0.stdin.take());
        let output = self.0.wait_with_output().context("waiting for the clients")?;
        ensure!(output.status.success(), "the clients ended with {}", output.status);
        serde_json::from_slice(&output.stdout).context("reading what the clients printed")
    }
}

/// What a change is to show that was asked for: the proxy before and in the end; nothing failed and nothing slow. A line of figures.
///
/// # Errors
/// What isn't so.
pub fn goes_on(asked: &[Asked], event: u64) -> Result<String> {
    let (before, after): (Vec<&Asked>, Vec<&Asked>) = asked.iter().partition(|one| one.at < event);
    ensure!(before.iter().filter(|one| one.answer == Ok(true)).count() >= LEAST, "nothing went through the proxy before");
    for one in &after {
        let at = one.at - event;
        ensure!(one.took <= SLOW, "took {} ms, {at} ms after the event", one.took);
        ensure!(one.answer.is_ok(), "failed {at} ms after the event: {:?}", one.answer);
    }
    let direct = after.iter().filter(|one| one.answer == Ok(false)).count();
    ensure!(after.last().is_some_and(|one| one.answer == Ok(true)), "in the end not through the proxy");
    let slowest = after.iter().map(|one| one.took).max().unwrap_or_default();
    Ok(format!("{} connections, none failed, {direct} of them direct, the slowest {slowest} ms", asked.len()))
}

/// What an event is to show: the proxy before; the direct path within 1.5 s of it; nothing failed and nothing slow beyond the first
/// second; and in the end the proxy again, or not. A line of figures.
///
/// # Errors
/// What isn't so.
pub fn falls_back(asked: &[Asked], event: u64, comes_back: bool) -> Result<String> {
    let before = asked.iter().filter(|one| one.at + one.took < event && one.answer == Ok(true)).count();
    ensure!(before >= LEAST, "{before} questions went through the proxy before: nothing is shown");
    let after = || asked.iter().filter(|one| one.at >= event);
    let direct = after().find(|one| one.answer == Ok(false)).context("never the direct path")?;
    let switched = direct.at - event;
    ensure!(switched <= SWITCHED, "the direct path after {switched} ms");
    let mut early = 0;
    for one in after() {
        let at = one.at - event;
        match &one.answer {
            Err(_) if at <= FIRST => early += 1,
            Err(error) => bail!("failed {at} ms after the event: {error}"),
            Ok(_) => ensure!(at <= FIRST || one.took <= SLOW, "took {} ms, {at} ms after the event", one.took),
        }
    }
    let last = asked.last().context("nothing was asked")?;
    ensure!(last.answer == Ok(comes_back), "in the end: {:?}", last.answer);
    let back = after().rev().take_while(|one| one.answer == Ok(true)).last().filter(|_| comes_back);
    let back = back.map_or(String::new(), |one| format!(", through the proxy alone again after {} ms", one.at - event));
    Ok(format!("{} connections, {early} failed in the first second, direct after {switched} ms{back}", asked.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(answers: &[(u64, u64, Result<bool, String>)]) -> Vec<Asked> {
        let before = (0..20).map(|at| (at, 1, Ok(true)));
        let all = before.chain(answers.iter().map(|(at, took, answer)| (1000 + at, *took, answer.clone())));
        all.map(|(at, took, answer)| Asked { at, took, answer }).collect()
    }

    #[test]
    fn what_does_not_go_on_is_found() {
        assert!(goes_on(&timeline(&[(0, 1, Ok(true)), (500, 1, Ok(false)), (900, 1, Ok(true))]), 1000).is_ok());
        for bad in [
            vec![(0, 1, Ok(true)), (500, 1, Ok(false))],
            vec![(0, 1, Err("refused".to_owned())), (900, 1, Ok(true))],
            vec![(0, 1200, Ok(true)), (900, 1, Ok(true))],
            vec![],
        ] {
            assert!(goes_on(&timeline(&bad), 1000).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_does_not_fall_back_is_found() {
        let failed = || Err("refused".to_owned());
        let good = [(0, 1, failed()), (900, 1, Ok(false)), (2000, 1, Ok(false)), (3000, 1, Ok(true))];
        assert!(falls_back(&timeline(&good), 1000, true).is_ok());
        assert!(falls_back(&timeline(&good), 1000, false).is_err(), "it did come back");
        assert!(falls_back(&timeline(&good)[20..], 1000, true).is_err(), "never through the proxy before");
        for bad in [
            vec![(900, 1, Ok(true)), (3000, 1, Ok(true))],
            vec![(1600, 1, Ok(false)), (3000, 1, Ok(true))],
            vec![(900, 1, Ok(false)), (1100, 1, failed()), (3000, 1, Ok(true))],
            vec![(900, 1, Ok(false)), (1100, 1200, Ok(false)), (3000, 1, Ok(true))],
        ] {
            assert!(falls_back(&timeline(&bad), 1000, true).is_err(), "{bad:?}");
        }
    }
}

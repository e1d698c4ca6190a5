//! The program beside a control plane, and what is asked of it.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::bench::process::{Process, free_addresses};
use crate::built;
use crate::control_plane::ControlPlane;

/// How long something may take that waits for nothing but us.
const SOON: Duration = Duration::from_secs(20);

/// The program, reading the control plane's API.
pub(super) struct Program {
    pub(super) process: Process,
    http: SocketAddr,
    admin: SocketAddr,
    health: SocketAddr,
}

impl Program {
    /// Starts it as the administrator.
    pub(super) fn start(plane: &ControlPlane, name: &str, flags: &[&str]) -> Result<Self> {
        Self::start_with(plane, name, plane.kubeconfig(), flags)
    }

    /// Starts it as a service account.
    pub(super) fn start_as(plane: &ControlPlane, name: &str, account: &str, flags: &[&str]) -> Result<Self> {
        let token = plane.kubectl(&["create", "token", account, "--namespace", "default"])?;
        let path = plane.folder().join(format!("{name}.kubeconfig"));
        std::fs::write(&path, plane.kubeconfig_of(token.trim()))?;
        Self::start_with(plane, name, path, flags)
    }

    fn start_with(plane: &ControlPlane, name: &str, kubeconfig: PathBuf, flags: &[&str]) -> Result<Self> {
        let [http, https, admin, health] = free_addresses()?;
        let mut command = Command::new(built::like_this_tool()?);
        command.args(["run", "--workers", "1", "--log-level", "info,rust_ingress=debug", "--kubeconfig"]).arg(kubeconfig);
        for (flag, address) in [("--http", http), ("--https", https), ("--admin", admin), ("--health", health)] {
            command.arg(flag).arg(address.to_string());
        }
        let mut process = Process::start(command.args(flags), name, plane.folder())?;
        process.listens(&[admin, health])?;
        Ok(Self { process, http, admin, health })
    }

    /// Waits until it is ready.
    pub(super) fn ready(&self) -> Result<()> {
        self.soon("it isn't ready", || Ok(self.is_ready()?.then_some(())))
    }

    pub(super) fn is_ready(&self) -> Result<bool> {
        Ok(get(self.health, "/readyz", "localhost")?.0 == 200)
    }

    /// Waits until its log says something.
    pub(super) fn says(&self, words: &str) -> Result<()> {
        self.soon(&format!("its log doesn't say {words:?}"), || Ok(self.process.printed().contains(words).then_some(())))
    }

    /// Waits until exactly these hosts have routes.
    pub(super) fn serves(&self, hosts: &[&str]) -> Result<()> {
        let wanted: BTreeSet<String> = hosts.iter().map(ToString::to_string).collect();
        self.soon(&format!("it doesn't serve {wanted:?}"), || Ok((self.hosts()? == wanted).then_some(())))
    }

    /// The status of an answer to one request.
    pub(super) fn status(&self, host: &str) -> Result<u16> {
        Ok(get(self.http, "/", host)?.0)
    }

    /// The names that have a certificate of their own.
    pub(super) fn certified(&self) -> Result<usize> {
        let snapshot = self.snapshot()?;
        Ok(snapshot.pointer("/tlsSets/ingress/byHost").and_then(Value::as_object).map_or(0, serde_json::Map::len))
    }

    /// Waits until this many names have a certificate of their own.
    pub(super) fn certifies(&self, hosts: usize) -> Result<()> {
        self.soon(&format!("not {hosts} hosts have certificates"), || Ok((self.certified()? == hosts).then_some(())))
    }

    /// The fingerprint by which a host is served.
    pub(super) fn fingerprint(&self, host: &str) -> Result<Option<String>> {
        let snapshot = self.snapshot()?;
        let by_host = snapshot.pointer("/tlsSets/ingress/byHost").and_then(|map| map.get(host));
        Ok(by_host.and_then(Value::as_str).map(str::to_owned))
    }

    /// The fingerprint of the default certificate; all zeros for the one made at start.
    pub(super) fn default_fingerprint(&self) -> Result<String> {
        let snapshot = self.snapshot()?;
        let default = snapshot.pointer("/tlsSets/ingress/default").and_then(Value::as_str);
        default.map(str::to_owned).context("there is no default certificate")
    }

    /// The endpoints of a backend, as text.
    pub(super) fn endpoints(&self, backend: &str) -> Result<String> {
        let snapshot = self.snapshot()?;
        let backend = snapshot.get("backends").and_then(|backends| backends.get(backend));
        Ok(backend.map(|backend| backend["discovery"].to_string()).unwrap_or_default())
    }

    /// Waits until a backend's endpoints hold an address.
    pub(super) fn reaches(&self, backend: &str, address: &str) -> Result<()> {
        let quoted = format!("\"{address}\"");
        self.soon(&format!("{backend} isn't {address}"), || Ok(self.endpoints(backend)?.contains(&quoted).then_some(())))
    }

    /// Reasons and messages of all faults.
    pub(super) fn faults(&self) -> Result<Vec<String>> {
        let snapshot = self.snapshot()?;
        let reports = snapshot.get("reports").and_then(Value::as_object).cloned().unwrap_or_default();
        let faults = reports.values().flat_map(|report| report["faults"].as_array().cloned().unwrap_or_default());
        Ok(faults.map(|fault| format!("{} {}", fault["reason"], fault["message"])).collect())
    }

    /// Waits until a fault says something.
    pub(super) fn faulted(&self, words: &str) -> Result<()> {
        let found = || Ok(self.faults()?.iter().any(|fault| fault.contains(words)).then_some(()));
        self.soon(&format!("no fault says {words:?}"), found)
    }

    fn hosts(&self) -> Result<BTreeSet<String>> {
        let snapshot = self.snapshot()?;
        let hosts = snapshot.pointer("/routeSets/ingress").and_then(Value::as_object);
        Ok(hosts.map(|hosts| hosts.keys().cloned().collect()).unwrap_or_default())
    }

    fn snapshot(&self) -> Result<Value> {
        let (_, body) = get(self.admin, "/snapshot", "localhost")?;
        // Before the first snapshot there is none to show.
        Ok(serde_json::from_str(&body).unwrap_or_default())
    }

    /// Waits until a look finds something.
    pub(super) fn soon(&self, otherwise: &str, mut look: impl FnMut() -> Result<Option<()>>) -> Result<()> {
        let start = Instant::now();
        while look()?.is_none() {
            if start.elapsed() > SOON {
                let printed = self.process.printed();
                let last = printed.lines().rev().take(12).collect::<Vec<_>>();
                let last: Vec<&str> = last.into_iter().rev().collect();
                bail!("after {} s {otherwise}; its log ends:\n{}", SOON.as_secs(), last.join("\n"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// Status and body of one request; chunked bodies are put together.
fn get(address: SocketAddr, path: &str, host: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).with_context(|| format!("{address} takes no connection"))?;
    stream.set_read_timeout(Some(SOON))?;
    write!(stream, "GET {path} HTTP/1.0\r\nhost: {host}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").context("not an answer")?;
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok()).context("no status")?;
    Ok((status, body.to_owned()))
}

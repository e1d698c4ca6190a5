//! A control plane without nodes: etcd and an apiserver on loopback, in a folder of its own, for suites that need only the API.
//!
//! Starts in seconds, needs no root and no network namespaces, and several can run side by side; `cluster` is the whole thing.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rcgen::KeyPair;
use serde_json::Value;
use tempfile::TempDir;

use crate::bench::process::{Process, free_addresses};
use crate::cluster::programs::Programs;

/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The token of the only user, who may do everything.
const TOKEN: &str = "conformance";

/// etcd and an apiserver; both end when it is dropped.
pub struct ControlPlane {
    // In the order in which they are to end.
    apiserver: Option<Process>,
    etcd: Option<Process>,
    kubectl: PathBuf,
    programs: [PathBuf; 2],
    addresses: [SocketAddr; 3],
    folder: TempDir,
}

impl ControlPlane {
    /// Starts both, built first if they aren't there, and waits until the API is ready.
    pub fn start() -> Result<Self> {
        let programs = Programs::cached()?;
        programs.need_all(&["etcd", "kube-apiserver", "kubectl"])?;
        let folder = tempfile::tempdir()?;
        let (key, file) = (KeyPair::generate()?, |name: &str| folder.path().join(name));
        std::fs::write(file("tokens.key"), key.serialize_pem())?;
        std::fs::write(file("tokens.pub"), key.public_key_pem())?;
        std::fs::write(file("users.csv"), format!("{TOKEN},admin,admin,system:masters\n"))?;
        let mut plane = Self {
            apiserver: None,
            etcd: None,
            kubectl: programs.path("kubectl")?,
            programs: [programs.path("etcd")?, programs.path("kube-apiserver")?],
            addresses: free_addresses()?,
            folder,
        };
        std::fs::write(plane.kubeconfig(), plane.kubeconfig_of(TOKEN))?;
        plane.start_etcd()?;
        plane.start_apiserver()?;
        Ok(plane)
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("admin.kubeconfig")
    }

    /// A folder for a suite's files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A kubeconfig for whoever has this token.
    pub fn kubeconfig_of(&self, token: &str) -> String {
        let [_, _, api] = self.addresses;
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: x\ncontexts: [{{name: x, context: {{cluster: c, user: u}}}}]\n\
             clusters: [{{name: c, cluster: {{server: \"https://{api}\", insecure-skip-tls-verify: true}}}}]\n\
             users: [{{name: u, user: {{token: {token}}}}}]\n"
        )
    }

    /// `kubectl ARGUMENTS`: what it printed, or an error with what it said.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.kubectl_with(arguments, "")
    }

    /// The same with an input, for `apply -f -`.
    pub fn kubectl_with(&self, arguments: &[&str], input: &str) -> Result<String> {
        let file = self.folder.path().join("input");
        std::fs::write(&file, input)?;
        let mut command = Command::new(&self.kubectl);
        command.arg("--kubeconfig").arg(self.kubeconfig()).arg("--request-timeout=20s").args(arguments);
        let output = command.stdin(std::fs::File::open(file)?).output().context("kubectl can't be started")?;
        if !output.status.success() {
            bail!("kubectl {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Applies objects given as YAML or JSON, by server-side apply.
    pub fn apply(&self, objects: &str) -> Result<String> {
        self.kubectl_with(&["apply", "--server-side", "--force-conflicts", "-f", "-"], objects)
    }

    /// Ends the apiserver; etcd keeps what there was.
    pub fn stop_apiserver(&mut self) {
        self.apiserver = None;
    }

    /// Starts it again, on the same address, and waits until it is ready.
    pub fn start_apiserver(&mut self) -> Result<()> {
        let ([etcd, _, api], [_, program]) = (self.addresses, &self.programs);
        let file = |name: &str| self.folder.path().join(name).display().to_string();
        let mut command = Command::new(program);
        command.arg(format!("--etcd-servers=http://{etcd}")).arg(format!("--bind-address={}", api.ip()));
        // An address that isn't loopback is wanted for the Service `kubernetes`; nobody goes there.
        command.arg(format!("--secure-port={}", api.port())).arg("--advertise-address=192.0.2.1");
        command.arg(format!("--cert-dir={}", file("certificates"))).arg("--service-cluster-ip-range=10.96.0.0/16,fd00:96::/112");
        command.arg(format!("--token-auth-file={}", file("users.csv"))).arg("--authorization-mode=RBAC");
        command.arg(format!("--service-account-key-file={}", file("tokens.pub")));
        command.arg(format!("--service-account-signing-key-file={}", file("tokens.key")));
        command.arg("--service-account-issuer=https://kubernetes.default.svc");
        // There is no controller that would make the account that this one asks for.
        command.arg("--disable-admission-plugins=ServiceAccount");
        let mut process = Process::start(&mut command, "apiserver", self.folder.path())?;
        process.listens(&[api])?;
        let start = Instant::now();
        while let Err(error) = self.kubectl(&["get", "--raw=/readyz"]) {
            if start.elapsed() > PATIENCE {
                bail!("the apiserver isn't ready: {error:#}; it printed:\n{}", process.printed());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        self.apiserver = Some(process);
        Ok(())
    }

    /// Asks etcd's JSON gateway, by POST.
    pub fn etcd(&self, path: &str, body: &Value) -> Result<Value> {
        let [client, ..] = self.addresses;
        let (mut stream, body) = (TcpStream::connect(client)?, body.to_string());
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "POST {path} HTTP/1.0\r\nhost: {client}\r\ncontent-length: {}\r\n\r\n{body}", body.len())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("etcd gives no answer")?;
        ensure!(head.contains(" 200 "), "etcd {path}: {answer}");
        Ok(serde_json::from_str(body)?)
    }

    /// Ends etcd.
    pub fn stop_etcd(&mut self) {
        self.etcd = None;
    }

    /// Starts etcd, with what it had.
    pub fn start_etcd(&mut self) -> Result<()> {
        let ([client, peer, _], [program, _]) = (self.addresses, &self.programs);
        let mut command = Command::new(program);
        command.arg(format!("--data-dir={}", self.folder.path().join("etcd").display()));
        command.arg(format!("--listen-client-urls=http://{client}")).arg(format!("--advertise-client-urls=http://{client}"));
        command.arg(format!("--listen-peer-urls=http://{peer}")).arg(format!("--initial-advertise-peer-urls=http://{peer}"));
        command.arg(format!("--initial-cluster=default=http://{peer}")).args(["--unsafe-no-fsync", "--log-level=warn"]);
        let mut process = Process::start(&mut command, "etcd", self.folder.path())?;
        process.listens(&[client])?;
        self.etcd = Some(process);
        Ok(())
    }
}

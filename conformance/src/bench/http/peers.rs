//! The three proxies of `bench http`, configured alike: nginx, HAProxy, and the real `rust-ingress run` with a folder.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tempfile::TempDir;

use crate::bench::process::{Process, free_addresses};
use crate::bench::program;

/// The host that requests name.
pub const HOST: &str = "bench.example.com";

/// A proxy that listens.
pub struct Peer {
    /// As results call it.
    pub name: &'static str,
    plain: SocketAddr,
    tls: SocketAddr,
    process: Process,
    _folder: Arc<TempDir>,
}

impl Peer {
    /// Where it listens.
    pub fn address(&self, tls: bool) -> SocketAddr {
        if tls { self.tls } else { self.plain }
    }

    /// CPU time so far, in nanoseconds.
    pub fn cpu(&self) -> Result<f64> {
        self.process.cpu()
    }
}

/// A certificate for [`HOST`], shared by the proxies; PEM.
pub struct Certificate {
    /// The certificate.
    pub certificate: String,
    key: String,
}

impl Certificate {
    /// Makes one, self-signed, with a P-256 key.
    pub fn make() -> Result<Self> {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec![HOST.to_owned()])?;
        Ok(Self { certificate: cert.pem(), key: signing_key.serialize_pem() })
    }
}

/// Fails, naming the Debian package, where a peer is missing.
pub fn installed() -> Result<()> {
    for (program, package) in [("nginx", "nginx-light"), ("haproxy", "haproxy")] {
        let found = Command::new(program).arg("-v").output().is_ok();
        ensure!(found, "{program} is not installed, or not in PATH (try /usr/sbin): apt-get install {package}");
    }
    Ok(())
}

/// Starts nginx, HAProxy and rust-ingress, in this order, and waits until they listen.
pub fn start(workers: usize, backend: SocketAddr, certificate: &Certificate) -> Result<Vec<Peer>> {
    let folder = Arc::new(TempDir::with_prefix("rust-ingress-bench")?);
    fs::write(folder.path().join("both.pem"), format!("{}{}", certificate.certificate, certificate.key))?;
    let mut peers = Vec::new();
    let make: [(&'static str, Make); 3] = [("nginx", nginx), ("haproxy", haproxy), ("rust-ingress", ours)];
    for (name, make) in make {
        let place = Place { folder: folder.path(), workers, backend, certificate, addresses: free_addresses()? };
        let mut command = make(&place)?;
        let mut process = Process::start(&mut command, name, folder.path())?;
        let [plain, tls, ..] = place.addresses;
        process.listens(&[plain, tls]).with_context(|| format!("starting {name}"))?;
        peers.push(Peer { name, plain, tls, process, _folder: folder.clone() });
    }
    Ok(peers)
}

type Make = fn(&Place<'_>) -> Result<Command>;

/// What a proxy is configured with. Addresses: plain, TLS, and two for whatever else it serves.
struct Place<'a> {
    folder: &'a Path,
    workers: usize,
    backend: SocketAddr,
    certificate: &'a Certificate,
    addresses: [SocketAddr; 4],
}

fn nginx(place: &Place<'_>) -> Result<Command> {
    let Place { folder, workers, backend, addresses: [plain, tls, ..], .. } = place;
    let pem = folder.join("both.pem");
    let (folder_text, pem) = (folder.display(), pem.display());
    let text = format!(
        "worker_processes {workers}; pid {folder_text}/nginx.pid; error_log stderr warn; daemon off;
         events {{ worker_connections 4096; }}
         http {{
           access_log off; keepalive_requests 100000000; client_body_temp_path {folder_text}/body;
           proxy_temp_path {folder_text}/proxy; fastcgi_temp_path {folder_text}/fastcgi;
           uwsgi_temp_path {folder_text}/uwsgi; scgi_temp_path {folder_text}/scgi;
           ssl_certificate {pem}; ssl_certificate_key {pem}; ssl_protocols TLSv1.2 TLSv1.3;
           upstream backend {{ server {backend}; keepalive 64; keepalive_requests 100000000; }}
           server {{
             listen {plain} reuseport; listen {tls} ssl http2 reuseport; server_name {HOST};
             location / {{
               proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection \"\";
               proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;
               proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $http_host;
               proxy_set_header X-Forwarded-Port $server_port; proxy_set_header X-Request-Id $request_id;
             }}
           }}
         }}\n"
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, text)?;
    let mut command = Command::new("nginx");
    command.arg("-c").arg(file).arg("-p").arg(folder);
    Ok(command)
}

fn haproxy(place: &Place<'_>) -> Result<Command> {
    let Place { folder, workers, backend, addresses: [plain, tls, ..], .. } = place;
    let pem = folder.join("both.pem");
    let pem = pem.display();
    let text = format!(
        "global
           nbthread {workers}
           maxconn 4096
         defaults
           mode http
           timeout connect 5s
           timeout client 75s
           timeout server 60s
           http-reuse always
           option forwardfor
         frontend all
           bind {plain}
           bind {tls} ssl crt {pem} alpn h2,http/1.1
           http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
           http-request set-header X-Forwarded-Proto http unless {{ ssl_fc }}
           http-request set-header X-Forwarded-Host %[req.hdr(host)]
           http-request set-header X-Forwarded-Port %[dst_port]
           unique-id-format %{{+X}}o\\ %ci:%cp_%fi:%fp_%Ts_%rt:%pid
           unique-id-header X-Request-Id
           default_backend all
         backend all
           server one {backend} pool-max-conn 64\n"
    );
    let file = folder.join("haproxy.cfg");
    fs::write(&file, text)?;
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(file);
    Ok(command)
}

fn ours(place: &Place<'_>) -> Result<Command> {
    let Place { folder, workers, backend, certificate, addresses: [plain, tls, admin, health] } = place;
    let manifests = folder.join("manifests");
    fs::create_dir(&manifests)?;
    let indent = |pem: &str| pem.lines().map(|line| format!("\n    {line}")).collect::<String>();
    let (tls_crt, tls_key) = (indent(&certificate.certificate), indent(&certificate.key));
    let (ip, port) = (backend.ip(), backend.port());
    let text = include_str!("bench.yaml").replace("{HOST}", HOST).replace("{PORT}", &port.to_string());
    let text = text.replace("{IP}", &ip.to_string()).replace("{CERTIFICATE}", &tls_crt).replace("{KEY}", &tls_key);
    fs::write(manifests.join("bench.yaml"), text)?;
    let mut command = Command::new(program()?);
    command.arg("run").arg("--manifests").arg(manifests).args(["--access-log", "off", "--workers", &workers.to_string()]);
    let flags = [("--http", plain), ("--https", tls), ("--admin", admin), ("--health", health)];
    for (flag, address) in flags {
        command.arg(flag).arg(address.to_string());
    }
    Ok(command)
}

//! Resident memory of the real program with the objects of `bench change`, idle.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;

use super::{MEMORY_MIB, objects};
use crate::bench::process::{Process, free_addresses};
use crate::bench::{Figure, program};

/// Idle means: as long as this after it has begun to listen, in readings a second apart.
const READINGS: usize = 8;

/// Starts the program and reads its memory; the last reading counts, the largest is shown.
pub fn measure() -> Result<Figure> {
    let folder = TempDir::with_prefix("rust-ingress-bench")?;
    let manifests = folder.path().join("manifests");
    fs::create_dir(&manifests)?;
    let documents: Vec<String> = objects::ROUTES.documents().map(|document| document.to_string()).collect();
    for (number, part) in documents.chunks(100).enumerate() {
        fs::write(manifests.join(format!("{number}.yaml")), part.join("\n---\n"))?;
    }
    let addresses: [SocketAddr; 4] = free_addresses()?;
    let mut command = Command::new(program()?);
    command.arg("run").arg("--manifests").arg(&manifests).args(["--access-log", "off", "--workers", "2"]);
    for (flag, address) in ["--http", "--https", "--admin", "--health"].iter().zip(&addresses) {
        command.arg(flag).arg(address.to_string());
    }
    let mut process = Process::start(&mut command, "rust-ingress", folder.path())?;
    process.listens(&addresses)?;
    let [plain, ..] = addresses;
    let status = objects::ask(plain, 0, &objects::path(0, 0))?;
    anyhow::ensure!(status == 502 || status == 503, "the folder's routes are not served: answered {status}");
    let mut readings = Vec::with_capacity(READINGS);
    for _ in 0..READINGS {
        sleep(Duration::from_secs(1));
        readings.push(process.resident()? as f64 / f64::from(1 << 20));
    }
    let last = readings.last().copied().unwrap_or(f64::NAN);
    let most = readings.into_iter().fold(0.0, f64::max);
    let columns = vec![format!("{last:.1} MiB"), format!("at most {most:.1}")];
    Ok(Figure { what: "resident memory, MiB".to_owned(), columns, value: last, limit: Some(MEMORY_MIB) })
}

//! What Prometheus clients commonly say of their process, under the common names. Used by `render`.

use std::fmt::Error;
use std::time::SystemTime;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::families::Families;

/// The process.
#[derive(Debug)]
pub(super) struct Process {
    /// When it started.
    pub started: SystemTime,
}

impl Collector for Process {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut out = Families(encoder);
        let started = self.started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        out.gauge("process_start_time_seconds", "When the proxy started, in seconds since 1970", &started)?;
        match resident_bytes() {
            Some(bytes) => out.gauge("process_resident_memory_bytes", "Resident memory of the whole process", &bytes),
            None => Ok(()),
        }
    }
}

/// `VmRSS` of proc(5); `None` where there is no `/proc`.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

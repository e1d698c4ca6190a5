//! Takes a cluster away, whole or half made: what `record.rs` holds, in the order in which things let go of each other.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::record::Record;
use super::{net, process};

/// Takes away the cluster of a state folder; false when there is none.
pub fn down(state: &Path) -> Result<bool> {
    let record = match Record::read(state) {
        Ok(Some(record)) => record,
        // Without a record nothing has been made yet, at most the folder.
        Ok(None) => return Ok(state.exists() && fs::remove_dir_all(state).is_ok()),
        Err(error) => return Err(error.context("what there is to remove is not known; read the file and remove it by hand")),
    };
    if let Some(members) = record.members() {
        process::end_members(members)?;
    }
    net::remove(&record)?;
    for cgroup in &record.cgroups {
        process::remove_cgroup(cgroup)?;
    }
    for (name, value) in &record.kernel {
        // Set to what it is, most of them: only a setting that changed is worth a word when it can't be written.
        let path = Path::new("/proc/sys").join(name);
        if fs::read_to_string(&path).ok().as_ref() != Some(value) {
            fs::write(&path, value).with_context(|| format!("{}: can't be set back to {}", path.display(), value.trim()))?;
        }
    }
    // Mounts live in namespaces that ended with the processes; were one still here, removing files would go through it.
    let mounts = fs::read_to_string("/proc/mounts")?;
    for at in mounts.lines().filter_map(|line| line.split(' ').nth(1)).filter(|at| Path::new(at).starts_with(state)).rev() {
        process::output(Command::new("umount").args(["--lazy", at]))?;
    }
    fs::remove_dir_all(state).with_context(|| format!("{}: can't be removed", state.display()))?;
    Ok(true)
}

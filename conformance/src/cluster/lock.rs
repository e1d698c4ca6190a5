//! One `up` or `down` at a time: each would take the other's half for what a killed start has left.

use std::fs::File;

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::layout;

/// Held while a cluster is being made or taken away; let go with this value, or with the process.
pub struct Lock(#[expect(dead_code, reason = "held, not read")] File);

impl Lock {
    /// Takes it.
    ///
    /// # Errors
    /// Somebody else has it, or there is no place for it.
    pub fn take() -> Result<Self> {
        let path = layout::state()?.with_extension("lock");
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("{}: can't be made", folder.display()))?;
        }
        let file = File::options().create(true).append(true).open(&path);
        let file = file.with_context(|| format!("{}: can't be opened", path.display()))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self(file)),
            Err(Errno::WOULDBLOCK) => {
                bail!("another `cluster up` or `cluster down` is at work ({}): wait for its end", path.display())
            }
            Err(error) => Err(error).with_context(|| format!("{}: can't be locked", path.display())),
        }
    }
}

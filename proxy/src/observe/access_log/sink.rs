//! Where access log lines go: standard output, or a file that is opened anew when somebody has moved it away.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::options::AccessLog;

/// The end of the access log.
pub(super) struct Sink {
    kind: Kind,
    /// The last write failed, and the log says so already.
    failing: bool,
}

enum Kind {
    Stdout(io::Stdout),
    File { path: PathBuf, file: File },
}

impl Sink {
    /// Opens it; `None` for [`AccessLog::Off`].
    pub(super) fn open(destination: &AccessLog) -> io::Result<Option<Self>> {
        let kind = match destination {
            AccessLog::Off => return Ok(None),
            AccessLog::Stdout => Kind::Stdout(io::stdout()),
            AccessLog::File(path) => Kind::File { path: path.clone(), file: append(path)? },
        };
        Ok(Some(Self { kind, failing: false }))
    }

    /// Writes whole lines.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let result = match &mut self.kind {
            Kind::Stdout(out) => out.write_all(lines).and_then(|()| out.flush()),
            Kind::File { path, file } => reopen(path, file).and_then(|()| file.write_all(lines)),
        };
        if let (Err(error), false) = (&result, self.failing) {
            tracing::error!(%error, "the access log can't be written; lines are dropped and counted until it can. Is the disk full?");
        }
        self.failing = result.is_err();
        result
    }
}

fn append(path: &Path) -> io::Result<File> {
    let named = |error: io::Error| {
        let text = format!("access log {}: {error}; check that the folder exists and may be written", path.display());
        io::Error::new(error.kind(), text)
    };
    OpenOptions::new().create(true).append(true).open(path).map_err(named)
}

/// Opens the file anew when the path no longer leads to it: logrotate needs no signal.
#[cfg(unix)]
fn reopen(path: &Path, file: &mut File) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let ours = file.metadata()?;
    let same = std::fs::metadata(path).is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino()));
    if !same {
        *file = append(path)?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn reopen(_: &Path, _: &mut File) -> io::Result<()> {
    Ok(())
}

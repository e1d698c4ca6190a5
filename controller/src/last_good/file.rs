//! One file: a header, a checksum, a body. Read only if it is ours alone and whole; written beside and renamed.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rust_ingress_model::Digest;
use rustix::fs::{Mode, OFlags};
use zeroize::Zeroizing;

/// What the first line begins with. The number is raised when files of the version before can't be read as they were meant.
const FORMAT: &str = "rust-ingress last good state, format 1: ";
/// Digits of the checksum and the line's end.
const CHECKSUM: usize = 65;
/// The largest file: a snapshot of 100,000 routes has about 80 MiB.
const MOST: u64 = 512 << 20;
/// Files set aside of each name; beyond these the last is replaced.
const MOST_SET_ASIDE: u32 = 9;

/// Why a file isn't read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system says so.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Others may have written it.
    #[error("it {0}; it must be a file of this program's user with mode 0600")]
    NotOurs(&'static str),
    /// It was written by another version of the program.
    #[error("it is of another format; a version of this program that reads it is no longer, or not yet, running")]
    Format,
    /// Cut off, or changed.
    #[error("its content doesn't have its checksum")]
    Damaged,
    /// Whole, but not what this version can use.
    #[error("its content can't be used: {0}")]
    Content(String),
}

/// Reads a file's body, and when it was written. `what`: the word that its header must have.
pub(super) fn read(path: &Path, what: &str) -> Result<(Zeroizing<Vec<u8>>, SystemTime), FileError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from)?);
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(FileError::NotOurs("isn't a plain file"));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(FileError::NotOurs("belongs to another user"));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(FileError::NotOurs("can be read or written by others"));
    }
    if metadata.len() > MOST {
        return Err(FileError::Damaged);
    }
    let header = format!("{FORMAT}{what}\n");
    // To the byte: a vector that grows leaves copies of keys behind.
    let mut all = Zeroizing::new(vec![0; usize::try_from(metadata.len()).unwrap_or(0)]);
    file.read_exact(&mut all).map_err(|_| FileError::Damaged)?;
    let rest = all.strip_prefix(header.as_bytes()).ok_or(FileError::Format)?;
    let (checksum, body) = rest.split_at_checked(CHECKSUM).ok_or(FileError::Damaged)?;
    if checksum != format!("{}\n", Digest::of(body)).as_bytes() {
        return Err(FileError::Damaged);
    }
    Ok((Zeroizing::new(body.to_vec()), metadata.modified()?))
}

/// Replaces a file. It is there whole, on disk, or as it was.
pub(super) fn write(path: &Path, what: &str, body: &[u8]) -> io::Result<()> {
    let beside = with_suffix(path, ".new");
    let _ = fs::remove_file(&beside);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::open(&beside, flags, Mode::RUSR | Mode::WUSR)?);
    let written = (|| {
        write!(file, "{FORMAT}{what}\n{}\n", Digest::of(body))?;
        file.write_all(body)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        sync_folder(path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

/// Removes a file for good; none is fine.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync_folder(path),
    }
}

/// Renames a file that isn't used to `NAME.damaged-1` and so on; gives the new name.
pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let free = set_aside_names(path).find(|name| fs::symlink_metadata(name).is_err());
    let to = free.or_else(|| set_aside_names(path).last()).unwrap_or_else(|| with_suffix(path, ".damaged"));
    fs::rename(path, &to)?;
    Ok(to)
}

/// All names that a file may have been set aside under.
pub(super) fn set_aside_names(path: &Path) -> impl Iterator<Item = PathBuf> {
    (1..=MOST_SET_ASIDE).map(|number| with_suffix(path, &format!(".damaged-{number}")))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The rename itself is on disk only when the folder is.
fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

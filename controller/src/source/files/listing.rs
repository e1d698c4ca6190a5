//! Listing: which manifests stand in a folder, and which directories must be watched to notice that one changes.
//!
//! Names that begin with a dot are skipped: editors' files, `.git`, and the `..data` of a mounted ConfigMap, whose files are
//! also there as links. Links are followed. Called by `folder`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How deep folders may nest.
const MOST_DEPTH: usize = 32;

/// How many manifests a folder may hold.
const MOST_FILES: usize = 50_000;

/// What tells, without reading it, that a file may have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Bytes.
    pub len: u64,
    modified: Option<SystemTime>,
    identity: Identity,
}

/// Device and inode, and the time of the last change of either content or name; zeros where there is no such thing.
pub type Identity = (u64, u64, i64);

impl Stamp {
    fn new(metadata: &Metadata) -> Self {
        Self { len: metadata.len(), modified: metadata.modified().ok(), identity: identity(metadata) }
    }

    /// Whether the file is so young that it could change again without its times changing: those tick in steps of
    /// milliseconds, on some file systems of seconds.
    pub fn is_fresh(&self) -> bool {
        let age = self.modified.and_then(|modified| SystemTime::now().duration_since(modified).ok());
        age.is_none_or(|age| age < Duration::from_secs(2))
    }
}

#[cfg(unix)]
fn identity(metadata: &Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt as _;
    (metadata.dev(), metadata.ino(), metadata.ctime_nsec())
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> Identity {
    (0, 0, 0)
}

/// What stands in a folder now.
#[derive(Debug, Default)]
pub struct Listing {
    /// Manifests by their path in the folder, `/` between its parts.
    pub files: BTreeMap<String, (PathBuf, Stamp)>,
    /// Real paths of the directories whose entries matter.
    pub directories: BTreeSet<PathBuf>,
    /// What couldn't be looked at: a path in the folder and why.
    pub problems: Vec<(String, String)>,
}

/// Lists a folder. An error is one of the folder itself.
pub fn list(root: &Path) -> io::Result<Listing> {
    let mut listing = Listing::default();
    // The folder's parent tells when the folder itself is replaced.
    let absolute = std::path::absolute(root)?;
    if let Some(parent) = absolute.parent() {
        listing.directories.insert(parent.to_owned());
    }
    let real = fs::canonicalize(root)?;
    fs::read_dir(&real)?;
    listing.walk(&real, "", &mut Vec::new());
    Ok(listing)
}

impl Listing {
    /// Looks at one directory by its real path; `above` are the real paths that lead here, so that links in a circle end.
    fn walk(&mut self, directory: &Path, prefix: &str, above: &mut Vec<PathBuf>) {
        if above.len() >= MOST_DEPTH || above.iter().any(|path| path == directory) {
            self.problems.push((prefix.to_owned(), "folders nest too deep, or a link leads back to a folder above it".into()));
            return;
        }
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) => return self.problems.push((prefix.to_owned(), error.to_string())),
        };
        self.directories.insert(directory.to_owned());
        above.push(directory.to_owned());
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with('.') {
                let relative = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
                let linked = entry.file_type().is_ok_and(|kind| kind.is_symlink());
                self.entry(&entry.path(), linked, relative, above);
            }
        }
        above.pop();
    }

    fn entry(&mut self, path: &Path, linked: bool, relative: String, above: &mut Vec<PathBuf>) {
        let is_manifest = [".yaml", ".yml", ".json"].iter().any(|ending| relative.ends_with(ending));
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => match fs::canonicalize(path) {
                Ok(real) => self.walk(&real, &relative, above),
                Err(error) => self.problems.push((relative, error.to_string())),
            },
            Ok(metadata) if is_manifest && metadata.is_file() => {
                if self.files.len() >= MOST_FILES {
                    return self.problems.push((relative, format!("there are more than {MOST_FILES} manifests")));
                }
                let real = linked.then(|| fs::canonicalize(path).ok()).flatten();
                if let Some(parent) = real.as_deref().and_then(Path::parent) {
                    self.directories.insert(parent.to_owned());
                }
                self.files.insert(relative, (path.to_owned(), Stamp::new(&metadata)));
            }
            Ok(_) => {}
            // Gone since the directory was read: the watch tells of it again.
            Err(error) if error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => {}
            Err(error) if is_manifest => self.problems.push((relative, error.to_string())),
            Err(_) => {}
        }
    }
}

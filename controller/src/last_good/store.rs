//! The folder: what is in it, and how it is read at start.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rust_ingress_model::{Fingerprint, KeyStore, Snapshot};
use rust_ingress_proxy::feed::keys;

use super::file::{self, FileError};

const SNAPSHOT: &str = "snapshot";
const KEYS: &str = "keys";

/// The folder of the last good state.
pub struct Store {
    folder: PathBuf,
    persist_keys: bool,
}

/// Why the folder can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system says so.
    #[error("--state-dir {folder}: {error}; give a folder that this program's user can make, or has", folder = .folder.display())]
    Io {
        /// The folder.
        folder: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Somebody else's.
    #[error("--state-dir {folder} belongs to user {owner}, and holds keys: give one that belongs to this program's user, {ours}", folder = .folder.display())]
    Owner {
        /// The folder.
        folder: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        ours: u32,
    },
}

/// What an earlier run served last.
pub struct LastGood {
    /// What was served.
    pub snapshot: Arc<Snapshot>,
    /// The keys that were kept. That of the certificate made at start never is: add this process's own.
    pub keys: KeyStore,
    /// When it was written.
    pub written: SystemTime,
}

impl Store {
    /// Makes the folder where there is none, and closes it to others. Without `persist_keys` keys of an earlier run are removed.
    ///
    /// # Errors
    /// A folder that can't be made, or is somebody else's.
    pub fn open(folder: &Path, persist_keys: bool) -> Result<Self, StoreError> {
        let failed = |error| StoreError::Io { folder: folder.to_owned(), error };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        let metadata = fs::metadata(folder).map_err(failed)?;
        let (owner, ours) = (metadata.uid(), rustix::process::geteuid().as_raw());
        if owner != ours {
            return Err(StoreError::Owner { folder: folder.to_owned(), owner, ours });
        }
        if metadata.mode() & 0o777 != 0o700 {
            fs::set_permissions(folder, Permissions::from_mode(0o700)).map_err(failed)?;
        }
        let store = Self { folder: folder.to_owned(), persist_keys };
        if !persist_keys {
            store.remove_keys().map_err(failed)?;
        }
        Ok(store)
    }

    /// What an earlier run wrote; `None` where there is nothing that can be used. Files that can't are set aside, and named in
    /// the log.
    pub fn load(&self) -> Option<LastGood> {
        let (snapshot, written) = self.used(SNAPSHOT, |body| {
            serde_json::from_slice::<Snapshot>(body).map_err(|error| FileError::Content(error.to_string()))
        })?;
        let mut store = KeyStore::default();
        if self.persist_keys {
            let pairs = self.used(KEYS, |body| keys::decode(body).map_err(|error| FileError::Content(error.into())));
            for (fingerprint, pair) in pairs.into_iter().flat_map(|(pairs, _)| pairs) {
                store.insert_as(fingerprint, pair);
            }
        }
        let missing = named(&snapshot).filter(|fingerprint| store.get(fingerprint).is_none()).count();
        if missing > 0 {
            tracing::warn!(
                certificates = missing,
                "the last good state has certificates without keys; their hosts answer nothing over TLS until the API server does"
            );
        }
        Some(LastGood { snapshot: Arc::new(snapshot), keys: store, written })
    }

    /// Reads a file and makes something of it.
    fn used<T>(&self, name: &str, of: impl FnOnce(&[u8]) -> Result<T, FileError>) -> Option<(T, SystemTime)> {
        let path = self.folder.join(name);
        let error = match file::read(&path, name).and_then(|(body, written)| Ok((of(&body)?, written))) {
            Ok(read) => return Some(read),
            Err(FileError::Io(error)) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => error,
        };
        match file::set_aside(&path) {
            Ok(to) => {
                let (path, to) = (path.display(), to.display());
                tracing::error!(%path, "the last good state isn't used: {error}; the file is now {to}");
            }
            Err(aside) => {
                let path = path.display();
                tracing::error!(%path, "the last good state isn't used: {error}; and it can't be set aside: {aside}");
            }
        }
        None
    }

    /// Replaces both files. Keys first: between the two a snapshot whose keys are gone refuses handshakes, and no key stays
    /// that nothing refers to.
    pub(super) fn save(&self, snapshot: &Snapshot, keys: &KeyStore) -> io::Result<()> {
        if self.persist_keys {
            let pairs: Vec<_> = named(snapshot).filter_map(|fingerprint| Some((*fingerprint, keys.get(fingerprint)?))).collect();
            let body = keys::encode(pairs.iter().copied()).map_err(io::Error::other)?;
            file::write(&self.folder.join(KEYS), KEYS, &body)?;
            self.remove_keys_set_aside()?;
        }
        let body = serde_json::to_vec(snapshot)?;
        file::write(&self.folder.join(SNAPSHOT), SNAPSHOT, &body)
    }

    fn remove_keys(&self) -> io::Result<()> {
        file::remove(&self.folder.join(KEYS))?;
        self.remove_keys_set_aside()
    }

    /// A damaged file may hold keys that nothing refers to any more.
    fn remove_keys_set_aside(&self) -> io::Result<()> {
        file::set_aside_names(&self.folder.join(KEYS)).try_for_each(|name| file::remove(&name))
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Certificates whose keys are kept. The one that a process makes at its start is made anew.
fn named(snapshot: &Snapshot) -> impl Iterator<Item = &Fingerprint> {
    snapshot.certificates.keys().filter(|fingerprint| **fingerprint != Fingerprint::SELF_MADE)
}

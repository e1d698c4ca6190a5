//! The watch: looks at the folder again when something in it changes, and hands on what changed.
//!
//! Runs on a thread of its own, started by `cli/run`. Each directory is watched by itself, at its real path, so that swapped
//! links, replaced folders and new folders are all noticed by one rule: after a look, watch what the look saw.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use rust_ingress_translate::Change;

use crate::source::files::folder::{Folder, Scan};

/// Without an event for this long, a burst of events is over.
const QUIET: Duration = Duration::from_millis(8);

/// A burst is looked at after this long even when it goes on.
const BURST: Duration = Duration::from_millis(40);

/// When a file that looks half written is looked at again.
const AGAIN: Duration = Duration::from_millis(30);

/// Why a folder can't be watched at all.
#[derive(Debug, thiserror::Error)]
#[error("can't watch files: {0}; check that inotify is available and its limits (fs.inotify.max_user_instances)")]
pub struct WatchError(#[from] notify::Error);

/// A folder and its watcher.
pub struct Watch {
    folder: Folder,
    watcher: RecommendedWatcher,
    events: Receiver<notify::Result<Event>>,
    watched: BTreeMap<PathBuf, bool>,
}

impl Watch {
    /// Begins to watch, then looks: nothing that changes in between is missed. Gives the first look's changes.
    pub fn start(folder: Folder) -> Result<(Self, Vec<Change>), WatchError> {
        let (sender, events) = channel();
        let watcher = notify::recommended_watcher(move |event| {
            if may_change(&event) {
                // An event after the end of the thread that reads them has nobody to tell.
                drop(sender.send(event));
            }
        })?;
        let mut watch = Self { folder, watcher, events, watched: BTreeMap::new() };
        let (changes, _) = watch.look();
        Ok((watch, changes))
    }

    /// The folder as last seen.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Runs until `sink` says that nobody listens any more.
    pub fn run(mut self, mut sink: impl FnMut(Vec<Change>) -> bool) {
        let mut again = true;
        loop {
            if !self.wait(again) {
                return;
            }
            let (changes, more) = self.look();
            again = more;
            if !changes.is_empty() && !sink(changes) {
                return;
            }
        }
    }

    /// Waits for a burst of events to end, or until it is time to look again. `false`: the watcher is gone.
    fn wait(&mut self, again: bool) -> bool {
        let mut burst: Option<Instant> = None;
        loop {
            let limit = match burst {
                Some(start) => Some(QUIET.min(BURST.saturating_sub(start.elapsed()))),
                None => again.then_some(AGAIN),
            };
            let next = match limit {
                Some(limit) => self.events.recv_timeout(limit),
                None => self.events.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match next {
                Ok(event) => {
                    self.note(&event);
                    burst.get_or_insert_with(Instant::now);
                }
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    /// Forgets the watch on a directory that goes: the kernel has.
    fn note(&mut self, event: &notify::Result<Event>) {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                tracing::warn!(%error, "watching the manifest folder: an event was lost; looking at all files again");
                return;
            }
        };
        if matches!(event.kind, EventKind::Remove(_) | EventKind::Modify(notify::event::ModifyKind::Name(_))) {
            for path in &event.paths {
                if self.watched.remove(path).is_some() {
                    // Already gone with its directory: nothing to undo then.
                    drop(self.watcher.unwatch(path));
                }
            }
        }
    }

    /// Looks until all directories that the look saw are watched. Gives the changes, and whether to look again soon.
    fn look(&mut self) -> (Vec<Change>, bool) {
        let mut changes = Vec::new();
        loop {
            let Scan { changes: found, again, directories } = self.folder.scan();
            changes.extend(found);
            if !self.watch(&directories) {
                return (changes, again);
            }
        }
    }

    /// Watches these directories and no others. Whether one is new, so that files may have come before its watch.
    fn watch(&mut self, directories: &BTreeSet<PathBuf>) -> bool {
        let stale: Vec<PathBuf> = self.watched.keys().filter(|path| !directories.contains(*path)).cloned().collect();
        for path in stale {
            self.watched.remove(&path);
            drop(self.watcher.unwatch(&path));
        }
        let mut new = false;
        for path in directories {
            if self.watched.contains_key(path) {
                continue;
            }
            let works = self.watcher.watch(path, RecursiveMode::NonRecursive);
            if let Err(error) = &works {
                tracing::warn!(path = %path.display(), %error, "changes in this folder will not be noticed; check its permissions and the limit fs.inotify.max_user_watches");
            }
            new |= works.is_ok();
            self.watched.insert(path.clone(), works.is_ok());
        }
        new
    }
}

/// Whether an event can mean a change. Reading is an access too, ours and that of busy neighbours in the same folder: asked
/// on the watcher's own thread, so that nobody is woken for it.
fn may_change(event: &notify::Result<Event>) -> bool {
    let access = |event: &Event| matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write));
    !event.as_ref().is_ok_and(access)
}

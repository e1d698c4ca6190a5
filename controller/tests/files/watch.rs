//! The watch on a real file system: whatever way a file changes, the change is noticed.

use std::fs;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rust_ingress::source::files::{Folder, Watch};
use tempfile::TempDir;

use crate::{ECHO, look, service, words};

/// A watch that runs, and what it says.
struct Watched {
    seen: Receiver<Vec<String>>,
}

impl Watched {
    fn start(root: &Path) -> Self {
        let (watch, _) = Watch::start(Folder::new(root, ECHO)).unwrap();
        let (sender, seen) = channel();
        std::thread::spawn(move || watch.run(|changes| sender.send(words(&changes)).is_ok()));
        Self { seen }
    }

    /// Waits until this has been said.
    fn until(&self, word: &str) {
        let mut all = Vec::new();
        while !all.iter().any(|seen| seen == word) {
            let more = self.seen.recv_timeout(Duration::from_secs(20));
            all.extend(more.unwrap_or_else(|_| panic!("{word} was not said, but {all:?}")));
        }
    }
}

#[test]
fn writes_replaced_files_and_new_folders_are_noticed() {
    let directory = TempDir::new().unwrap();
    let root = directory.path();
    let watched = Watched::start(root);
    fs::write(root.join("a.yaml"), service("a", 80)).unwrap();
    watched.until("+Service/default/a");
    fs::write(root.join(".a.yaml.new"), service("a", 81)).unwrap();
    fs::rename(root.join(".a.yaml.new"), root.join("a.yaml")).unwrap();
    watched.until("+Service/default/a");
    fs::create_dir_all(root.join("x/y/z")).unwrap();
    fs::write(root.join("x/y/z/b.yaml"), service("b", 80)).unwrap();
    watched.until("+Service/default/b");
    fs::write(root.join("x/y/z/b.yaml"), service("b", 81)).unwrap();
    watched.until("+Service/default/b");
    fs::remove_dir_all(root.join("x")).unwrap();
    watched.until("-Service/default/b");
}

#[test]
fn a_folder_made_again_is_watched_again() {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("manifests");
    fs::create_dir(&root).unwrap();
    let watched = Watched::start(&root);
    for port in [80, 81, 82] {
        fs::remove_dir_all(&root).unwrap();
        watched.until("! InvalidDocument");
        fs::create_dir(&root).unwrap();
        watched.until("!");
        fs::write(root.join("a.yaml"), service("a", port)).unwrap();
        watched.until("+Service/default/a");
    }
}

#[cfg(unix)]
#[test]
fn links_swapped_as_a_config_map_does_are_noticed_and_read_once() {
    use std::os::unix::fs::symlink;
    let directory = TempDir::new().unwrap();
    let root = directory.path();
    let generation = |name: &str, port| {
        fs::create_dir(root.join(name)).unwrap();
        fs::write(root.join(name).join("a.yaml"), service("a", port)).unwrap();
    };
    generation("..1", 80);
    symlink("..1", root.join("..data")).unwrap();
    symlink("..data/a.yaml", root.join("a.yaml")).unwrap();
    assert_eq!(look(&mut Folder::new(root, ECHO)), ["+Service/default/a"], "once, without a duplicate");
    let watched = Watched::start(root);
    for (new, old, port) in [("..2", "..1", 81), ("..3", "..2", 82)] {
        generation(new, port);
        symlink(new, root.join("..data_tmp")).unwrap();
        fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
        fs::remove_dir_all(root.join(old)).unwrap();
        watched.until("+Service/default/a");
    }
}

#[cfg(unix)]
#[test]
fn a_folder_that_is_a_link_may_be_swapped() {
    use std::os::unix::fs::symlink;
    let directory = TempDir::new().unwrap();
    let root = directory.path();
    for (name, port) in [("1", 80), ("2", 81)] {
        fs::create_dir(root.join(name)).unwrap();
        fs::write(root.join(name).join("a.yaml"), service("a", port)).unwrap();
    }
    symlink("1", root.join("current")).unwrap();
    let watched = Watched::start(&root.join("current"));
    symlink("2", root.join("next")).unwrap();
    fs::rename(root.join("next"), root.join("current")).unwrap();
    watched.until("+Service/default/a");
    fs::write(root.join("2/a.yaml"), service("a", 82)).unwrap();
    watched.until("+Service/default/a");
}

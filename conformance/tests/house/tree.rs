//! The files that the rules read: the repository's, or a sample's.

use std::fs;
use std::path::{Path, PathBuf};

/// A text file, by its path from the top of the repository.
pub struct File {
    /// With `/` between folders.
    pub path: String,
    /// All of it.
    pub text: String,
}

/// A repository, or a sample of one.
pub struct Tree {
    /// Every text file, in order of paths.
    pub files: Vec<File>,
}

/// Folders that are built or belong to git, wherever they stand.
const SKIPPED: [&str; 3] = [".git", "target", "node_modules"];

impl Tree {
    /// The repository that this test was built in.
    pub fn repository() -> Self {
        let top = top();
        let mut files = Vec::new();
        read(&top, &top, &mut files);
        files.sort_by(|a: &File, b: &File| a.path.cmp(&b.path));
        Self { files }
    }

    /// A tree of the files given.
    pub fn sample(files: &[(&str, &str)]) -> Self {
        Self { files: files.iter().map(|(path, text)| File { path: (*path).into(), text: (*text).into() }).collect() }
    }

    /// The file at a path.
    pub fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Rust sources.
    pub fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.path.ends_with(".rs"))
    }
}

impl File {
    /// Whether the file holds tests only: an integration test, or a module that is only built for tests.
    pub fn is_test(&self) -> bool {
        self.path.contains("/tests/") || self.path.ends_with("/tests.rs")
    }
}

/// The top of the repository.
pub fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("conformance stands in the repository").to_path_buf()
}

fn read(top: &Path, folder: &Path, files: &mut Vec<File>) {
    for entry in fs::read_dir(folder).expect("a folder of the repository can be listed") {
        let path = entry.expect("a folder's entry can be read").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_symlink() || SKIPPED.contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            read(top, &path, files);
        } else if let Ok(text) = fs::read_to_string(&path) {
            let path = path.strip_prefix(top).expect("it was found under the top").to_string_lossy().replace('\\', "/");
            files.push(File { path, text });
        }
    }
}

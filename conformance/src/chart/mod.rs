//! The Helm chart, and Helm itself: used by `suite chart` and by whatever installs the program on the test cluster.

mod helm;
pub mod install;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub use helm::{Helm, VERSION};

/// The release's name and namespace, as the README has them.
pub const RELEASE: &str = "rust-ingress";

/// The chart's folder.
pub fn folder() -> Result<PathBuf> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("conformance stands in the repository")?;
    Ok(top.join("charts/rust-ingress"))
}

/// One set of values that the chart is rendered with.
#[derive(Debug, Clone)]
pub struct ValueSet {
    /// The value file's name without its end, or `defaults`.
    pub name: String,
    /// The value file, from the chart's folder; `None`: the defaults.
    pub file: Option<String>,
}

/// The defaults and every file of the chart's `examples`, in order.
pub fn value_sets() -> Result<Vec<ValueSet>> {
    let examples = folder()?.join("examples");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&examples).with_context(|| format!("{}: can't be listed", examples.display()))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let mut sets = vec![ValueSet { name: "defaults".into(), file: None }];
    sets.extend(
        names
            .into_iter()
            .map(|file| ValueSet { name: file.trim_end_matches(".yaml").to_owned(), file: Some(format!("examples/{file}")) }),
    );
    Ok(sets)
}

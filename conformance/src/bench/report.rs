//! A bench's table: printed, checked against its limits, and written into `conformance/results/`.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// One row.
#[derive(Debug, Clone)]
pub struct Figure {
    /// What was measured.
    pub what: String,
    /// The figures, in the order of the report's columns.
    pub columns: Vec<String>,
    /// What is held against the limit, in the unit of the report.
    pub value: f64,
    /// The most that it may be; `None`: shown only.
    pub limit: Option<f64>,
}

/// A bench's table.
#[derive(Debug, Clone)]
pub struct Report {
    /// The bench, and the name of its result file.
    pub name: &'static str,
    /// What the columns are.
    pub columns: Vec<String>,
    /// The name and unit of what is held against the limit: `ratio to nginx`, `ns`.
    pub value: &'static str,
    /// The rows.
    pub figures: Vec<Figure>,
    /// How it was measured, versions included; sentences.
    pub notes: Vec<String>,
}

impl Report {
    /// Whether every figure is within its limit.
    pub fn kept(&self) -> bool {
        self.figures.iter().all(|figure| figure.limit.is_none_or(|limit| figure.value <= limit))
    }

    /// Writes `conformance/results/NAME.md` and returns its path.
    pub fn write(&self, arguments: &str) -> Result<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
        fs::create_dir_all(&folder).with_context(|| format!("{}: can't be made", folder.display()))?;
        let path = folder.join(format!("{}.md", self.name));
        let command = format!("cargo run --release -p rust-ingress-conformance -- {arguments}");
        let text = format!("# bench {}\n\n{}\n\n    {command}\n\n{self}", self.name, machine());
        fs::write(&path, text).with_context(|| format!("{}: can't be written", path.display()))?;
        Ok(path)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = vec![vec![String::new()]];
        rows[0].extend(self.columns.iter().cloned());
        rows[0].extend([self.value.to_owned(), "limit".to_owned(), String::new()]);
        for figure in &self.figures {
            let mut row = vec![figure.what.clone()];
            row.extend(figure.columns.iter().cloned());
            row.push(number(figure.value));
            row.push(figure.limit.map(number).unwrap_or_default());
            row.push(figure.limit.map_or("", |limit| if figure.value <= limit { "kept" } else { "MISSED" }).to_owned());
            rows.push(row);
        }
        let columns = rows[0].len();
        let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|text| text.chars().count()).max();
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        let dashes: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
        rows.insert(1, dashes);
        for row in rows {
            let cells: Vec<String> = row.iter().zip(&widths).map(|(text, width)| format!("{text:<width$}")).collect();
            writeln!(f, "| {} |", cells.join(" | "))?;
        }
        self.notes.iter().try_for_each(|note| write!(f, "\n- {note}"))?;
        writeln!(f)
    }
}

/// Two digits after the point for ratios, none for large numbers.
fn number(value: f64) -> String {
    if value < 10.0 { format!("{value:.2}") } else { format!("{value:.0}") }
}

/// Date, processor, cores and kernel, as one line.
pub(crate) fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let processor = read("/proc/cpuinfo").lines().find_map(|line| Some(line.strip_prefix("model name")?.trim().to_owned()));
    let processor = processor.map(|name| name.trim_start_matches([':', ' ']).to_owned()).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease").trim().to_owned();
    let date = first_line("date", &["-u", "+%Y-%m-%d %H:%M UTC"]);
    let commit = first_line("git", &["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty"]);
    format!("{date}, commit {commit}; {cores} × {processor}, Linux {kernel}.")
}

/// The first line that a program prints, on either stream (`nginx -v` writes to standard error); empty where it can't be run.
pub(crate) fn first_line(program: &str, arguments: &[&str]) -> String {
    let Ok(output) = Command::new(program).args(arguments).output() else { return String::new() };
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(value: f64, limit: Option<f64>) -> Report {
        let figure = Figure { what: "a".into(), columns: vec!["1.0".into()], value, limit };
        Report { name: "x", columns: vec!["µs".into()], value: "ratio", figures: vec![figure], notes: vec!["How.".into()] }
    }

    #[test]
    fn a_limit_is_kept_up_to_itself() {
        assert!(report(1.2, Some(1.2)).kept());
        assert!(report(9.0, None).kept());
        assert!(!report(1.21, Some(1.2)).kept());
        assert!(!report(f64::NAN, Some(1.2)).kept(), "what could not be measured is not kept");
    }

    #[test]
    fn a_missed_limit_is_shown() {
        let shown = report(1.21, Some(1.2)).to_string();
        assert!(shown.contains("| a | 1.0 | 1.21  | 1.20  | MISSED |"), "{shown}");
        assert!(shown.contains("\n- How.\n"), "{shown}");
    }
}

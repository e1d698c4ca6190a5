//! What a suite found: cases as they end, one line that sums them up, a JUnit file, a result file.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::bench::machine;
use crate::cluster::layout::cache;

/// How a case ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// As it should.
    Passed,
    /// Not as it should; what was seen.
    Failed(String),
    /// Not run, and why.
    Skipped(String),
}

/// One case.
#[derive(Debug, Clone)]
pub struct Case {
    /// Where it belongs: a feature, a file.
    pub group: String,
    /// What should be so; a sentence.
    pub name: String,
    /// How long it took.
    pub took: Duration,
    /// How it ended.
    pub outcome: Outcome,
}

/// A suite's cases and what they ran on.
#[derive(Debug, Clone)]
pub struct Report {
    /// The suite's name, and its result files'.
    pub suite: &'static str,
    /// The cluster: versions, nodes, who carries Services.
    pub on: String,
    /// Versions of what took part, figures; sentences.
    pub notes: Vec<String>,
    /// The cases, in order.
    pub cases: Vec<Case>,
    began: Instant,
}

impl Report {
    /// A suite that begins now.
    pub fn new(suite: &'static str, on: impl Into<String>) -> Self {
        Self { suite, on: on.into(), notes: Vec::new(), cases: Vec::new(), began: Instant::now() }
    }

    /// Runs a case, keeps and prints how it ended; an error fails the case, not the suite.
    pub fn case(&mut self, group: &str, name: &str, run: impl FnOnce() -> Result<()>) -> bool {
        let begin = Instant::now();
        let outcome = match run() {
            Ok(()) => Outcome::Passed,
            Err(error) => Outcome::Failed(format!("{error:#}")),
        };
        let passed = outcome == Outcome::Passed;
        self.add(Case { group: group.to_owned(), name: name.to_owned(), took: begin.elapsed(), outcome });
        passed
    }

    /// Adds a case that was run elsewhere, and prints it.
    pub fn add(&mut self, case: Case) {
        let Case { group, name, took, outcome } = &case;
        match outcome {
            Outcome::Passed => println!("ok      {group}: {name} ({:.2} s)", took.as_secs_f64()),
            Outcome::Failed(why) => println!("FAILED  {group}: {name} ({:.2} s)\n        {}", took.as_secs_f64(), indented(why)),
            Outcome::Skipped(why) => println!("skipped {group}: {name}: {why}"),
        }
        self.cases.push(case);
    }

    /// Whether nothing failed and something ran.
    pub fn passed(&self) -> bool {
        let (passed, failed, _) = self.counts();
        failed == 0 && passed > 0
    }

    /// Passed, failed, skipped.
    pub fn counts(&self) -> (usize, usize, usize) {
        let count = |wanted: fn(&Outcome) -> bool| self.cases.iter().filter(|case| wanted(&case.outcome)).count();
        (
            count(|outcome| matches!(outcome, Outcome::Passed)),
            count(|outcome| matches!(outcome, Outcome::Failed(_))),
            count(|outcome| matches!(outcome, Outcome::Skipped(_))),
        )
    }

    /// `suite ingress: 34 passed, 0 failed, 0 skipped in 41 s on …`.
    pub fn summary(&self) -> String {
        let (passed, failed, skipped) = self.counts();
        let seconds = self.began.elapsed().as_secs();
        format!("suite {}: {passed} passed, {failed} failed, {skipped} skipped in {seconds} s on {}", self.suite, self.on)
    }

    /// Writes `conformance/results/SUITE.md`; its path.
    pub fn write(&self, arguments: &str) -> Result<PathBuf> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("results").join(format!("{}.md", self.suite));
        let text = self.page(&fs::read_to_string(&path).unwrap_or_default(), &machine(), arguments);
        fs::write(&path, text).with_context(|| format!("{}: can't be written", path.display()))?;
        Ok(path)
    }

    /// The result file: a row per run, those of the file before kept, and all about this one.
    fn page(&self, before: &str, machine: &str, arguments: &str) -> String {
        let mut text = format!("# suite {}\n\n| run | on | passed | failed | skipped |\n|---|---|---|---|---|\n", self.suite);
        // Rows of runs are the only ones that begin with a year.
        for row in before.lines().filter(|line| line.starts_with("| 2")) {
            let _ = writeln!(text, "{row}");
        }
        let (passed, failed, skipped) = self.counts();
        let when = machine.split(';').next().unwrap_or_default();
        let _ = writeln!(text, "| {when} | {} | {passed} | {failed} | {skipped} |", self.on);
        let command = format!("cargo run -p rust-ingress-conformance -- {arguments}");
        let _ = write!(text, "\n## Last run\n\n{machine}\n\n    {command}\n\n{}.\n", self.summary());
        for note in &self.notes {
            let _ = write!(text, "\n- {note}");
        }
        let _ = write!(text, "\n\n| | case | |\n|---|---|---|\n");
        for case in &self.cases {
            let ended = match &case.outcome {
                Outcome::Passed => "passed".to_owned(),
                Outcome::Failed(why) => format!("FAILED: {}", why.lines().next().unwrap_or_default().replace('|', "\\|")),
                Outcome::Skipped(why) => format!("skipped: {}", why.replace('|', "\\|")),
            };
            let _ = writeln!(text, "| {} | {} | {ended} |", case.group, case.name.replace('|', "\\|"));
        }
        text
    }

    /// Writes the JUnit file; its path.
    pub fn write_junit(&self, path: Option<&Path>) -> Result<PathBuf> {
        let path = match path {
            Some(path) => path.to_owned(),
            None => cache()?.join("suites").join(format!("{}.xml", self.suite)),
        };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("{}: can't be made", folder.display()))?;
        }
        fs::write(&path, self.junit()).with_context(|| format!("{}: can't be written", path.display()))?;
        Ok(path)
    }

    fn junit(&self) -> String {
        let (_, failed, skipped) = self.counts();
        let mut xml = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"{}\" tests=\"{}\" failures=\"{failed}\" skipped=\"{skipped}\" time=\"{:.3}\">\n",
            escaped(self.suite),
            self.cases.len(),
            self.began.elapsed().as_secs_f64()
        );
        for Case { group, name, took, outcome } in &self.cases {
            let (group, name, took) = (escaped(group), escaped(name), took.as_secs_f64());
            let _ = write!(xml, "  <testcase classname=\"{group}\" name=\"{name}\" time=\"{took:.3}\"");
            let _ = match outcome {
                Outcome::Passed => writeln!(xml, "/>"),
                Outcome::Failed(why) => writeln!(xml, "><failure>{}</failure></testcase>", escaped(why)),
                Outcome::Skipped(why) => writeln!(xml, "><skipped message=\"{}\"/></testcase>", escaped(why)),
            };
        }
        xml + "</testsuite>\n"
    }
}

fn indented(text: &str) -> String {
    text.replace('\n', "\n        ")
}

/// Text for XML; controls, which XML 1.0 has no way to say, become spaces.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(letter),
            letter if letter.is_control() => out.push(' '),
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::new("x", "nothing");
        report.case("a", "one", || Ok(()));
        report.case("a", "two <2>", || anyhow::bail!("expected \"3\"\u{1b} & got 4"));
        report.add(Case {
            group: "b".into(),
            name: "three".into(),
            took: Duration::ZERO,
            outcome: Outcome::Skipped("no disk".into()),
        });
        report
    }

    #[test]
    fn a_failed_case_fails_the_suite_and_an_empty_one_fails_too() {
        assert!(!report().passed());
        assert!(!Report::new("x", "nothing").passed());
        assert!(report().summary().starts_with("suite x: 1 passed, 1 failed, 1 skipped in 0 s on nothing"));
    }

    #[test]
    fn a_result_file_keeps_the_rows_of_earlier_runs() {
        let first = report().page("", "2026-01-01 10:00 UTC, commit a; 2 cores", "suite x");
        let second = report().page(&first, "2026-01-02 10:00 UTC, commit b; 2 cores", "suite x --write");
        let rows = "| 2026-01-01 10:00 UTC, commit a | nothing | 1 | 1 | 1 |\n| 2026-01-02 10:00 UTC, commit b | nothing | 1 | 1 | 1 |\n";
        assert!(second.contains(rows), "{second}");
        assert_eq!(second.matches("| a | one | passed |").count(), 1, "{second}");
    }

    #[test]
    fn junit_is_escaped() {
        let xml = report().junit();
        assert!(xml.contains("tests=\"3\" failures=\"1\" skipped=\"1\""), "{xml}");
        assert!(xml.contains("name=\"two &lt;2&gt;\""), "{xml}");
        assert!(xml.contains("<failure>expected &quot;3&quot;  &amp; got 4</failure>"), "{xml}");
    }
}

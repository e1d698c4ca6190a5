//! What `check` found, as text for people and as JSON for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use rust_ingress_model::{Fault, ObjectRef, Severity, Verdict, VerdictKind};
use serde::Serialize;

/// A fault and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Finding {
    /// The file, as the user can open it.
    pub(super) file: String,
    /// From 1; 0 where the object stands in no file.
    pub(super) line: u32,
    /// What is wrong.
    #[serde(flatten)]
    pub(super) fault: Fault,
}

/// A verdict on an annotation and where it is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spoken {
    pub(super) file: String,
    pub(super) line: u32,
    pub(super) object: ObjectRef,
    #[serde(flatten)]
    pub(super) verdict: Verdict,
}

/// All of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// The folder.
    pub(super) manifests: String,
    /// Manifests read.
    pub(super) files: usize,
    /// Objects in them.
    pub(super) objects: usize,
    /// Findings of severity error.
    pub(super) errors: usize,
    /// The others.
    pub(super) warnings: usize,
    /// By file and line.
    pub(super) findings: Vec<Finding>,
    /// By object.
    pub(super) verdicts: Vec<Spoken>,
}

impl Report {
    /// A line a finding, `file:line: severity: object field: rule: what happened; what to do`, and a sum.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        for Finding { file, line, fault } in &self.findings {
            let severity = match fault.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            };
            let place = if *line == 0 { file.clone() } else { format!("{file}:{line}") };
            let Fault { object, field, reason, message, advice, .. } = fault;
            let subject = if field.is_empty() { object.to_string() } else { format!("{object} {field}") };
            // Writing into a String can't fail.
            let _ = writeln!(out, "{place}: {severity}: {subject}: {reason}: {message}; {advice}");
        }
        self.write_verdicts(&mut out);
        let Self { files, objects, errors, warnings, .. } = self;
        let _ = writeln!(out, "{objects} objects in {files} files: {errors} errors, {warnings} warnings");
        out
    }

    fn write_verdicts(&self, out: &mut String) {
        if self.verdicts.is_empty() {
            return;
        }
        let mut sums: BTreeMap<VerdictKind, usize> = BTreeMap::new();
        for Spoken { file, line, object, verdict } in &self.verdicts {
            let Verdict { annotation, kind, note } = verdict;
            *sums.entry(*kind).or_default() += 1;
            let _ = writeln!(out, "{file}:{line}: annotation: {object} {annotation}: {}: {note}", words(*kind));
        }
        let sums: Vec<String> = sums.into_iter().map(|(kind, number)| format!("{number} {}", words(kind))).collect();
        let _ = writeln!(out, "nginx annotations: {}", sums.join(", "));
    }
}

fn words(kind: VerdictKind) -> &'static str {
    match kind {
        VerdictKind::Works => "works",
        VerdictKind::NoEffect => "no effect here",
        VerdictKind::Unsupported => "not supported",
        VerdictKind::Refused => "not supported and guards: its routes answer 503",
        VerdictKind::Accepted => "not supported, guards, accepted by rust-ingress.dev/accept-unsupported",
        VerdictKind::Unknown => "unknown",
    }
}

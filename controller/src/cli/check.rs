//! `rust-ingress check`: reads a folder, translates it as `run` would, and says what is wrong where. Serves nothing.
//!
//! Exit status 1 where an object asks for something that wouldn't be served.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use rust_ingress_model::{Fault, Severity, Snapshot};
use rust_ingress_translate::{Settings, World, translate};

use crate::builtin::Builtin;
use crate::certificate;
use crate::cli::report::{Finding, Report, Spoken};
use crate::cli::require_folder;
use crate::source::files::{FILE, Folder};

#[derive(Args)]
pub(super) struct CheckArgs {
    /// The folder of manifests
    #[arg(long, value_name = "DIR")]
    manifests: PathBuf,
    /// How the result is written
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    output: Output,
    /// As for `run`: Services of type ExternalName would be served
    #[arg(long)]
    allow_external_name: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    Text,
    Json,
}

pub(super) fn check(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    require_folder(&args.manifests)?;
    let mut folder = Folder::new(&args.manifests, Builtin::NOT_STARTED);
    let mut world = World::default();
    for change in folder.scan().changes {
        world.apply(change);
    }
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let settings = Settings {
        http: vec![at(8080)],
        https: vec![at(8443)],
        default_certificate: Some(certificate::make()?),
        allow_external_name: args.allow_external_name,
        ..Settings::default()
    };
    let dirty = world.take_dirty();
    let (snapshot, _status) = translate(&world, &settings, &Snapshot::default(), &dirty);
    let report = report(&folder, &snapshot);
    let text = match args.output {
        Output::Text => report.text(),
        Output::Json => format!("{:#}\n", serde_json::to_value(&report)?),
    };
    // A reader that has read enough closes the pipe; the status still tells.
    drop(std::io::Write::write_all(&mut std::io::stdout().lock(), text.as_bytes()));
    Ok(ExitCode::from(u8::from(report.errors > 0)))
}

/// All that is said of a folder, each thing with its place.
fn report(folder: &Folder, snapshot: &Snapshot) -> Report {
    let mut findings: Vec<Finding> = folder.said().map(|said| finding(folder, &said.file, said.line, said.fault)).collect();
    let said: BTreeSet<Fault> = findings.iter().map(|finding| finding.fault.clone()).collect();
    for fault in snapshot.faults().filter(|fault| !said.contains(*fault)) {
        let (file, line) = folder.locate(&fault.object, &fault.field).unwrap_or_else(|| place_of_file(fault));
        findings.push(finding(folder, &file, line, fault.clone()));
    }
    findings.sort_by(|one, other| (&one.file, one.line, &one.fault).cmp(&(&other.file, other.line, &other.fault)));
    findings.dedup();
    let spoken = snapshot.reports.iter().filter_map(|(key, report)| match key {
        rust_ingress_model::ReportKey::Object(object) => Some((object, report)),
        _ => None,
    });
    let verdicts = spoken.flat_map(|(object, report)| report.verdicts.iter().map(move |verdict| (object, verdict)));
    let verdicts = verdicts.map(|(object, verdict)| {
        let field = format!("metadata.annotations[\"{}\"]", verdict.annotation);
        let (file, line) = folder.locate(object, &field).unwrap_or_default();
        Spoken { file: shown(folder, &file), line, object: object.clone(), verdict: verdict.clone() }
    });
    let errors = findings.iter().filter(|finding| finding.fault.severity == Severity::Error).count();
    Report {
        manifests: folder.root().display().to_string(),
        files: folder.files(),
        objects: folder.objects(),
        errors,
        warnings: findings.len() - errors,
        verdicts: verdicts.collect(),
        findings,
    }
}

/// The file that a fault of a file names; no line for faults of things that stand nowhere.
fn place_of_file(fault: &Fault) -> (String, u32) {
    match &*fault.object.kind {
        FILE => (fault.object.name.to_string(), 1),
        _ => (String::new(), 0),
    }
}

fn finding(folder: &Folder, file: &str, line: u32, fault: Fault) -> Finding {
    Finding { file: shown(folder, file), line, fault }
}

/// A path as the user can open it from where the program runs.
fn shown(folder: &Folder, file: &str) -> String {
    match file {
        "" => folder.root().display().to_string(),
        file => folder.root().join(file).display().to_string(),
    }
}

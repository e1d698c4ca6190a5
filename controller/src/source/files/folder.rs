//! The folder: what all its manifests say together, and what changed since the last look.
//!
//! Only files whose stamp changed are read, only those whose text changed are parsed, only objects whose content changed
//! become changes. A file that can't be parsed keeps its last good objects. Of two of the same object the one in the first
//! file by path wins. Called by `watch` and by `check`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use rust_ingress_model::{Digest, Fault, ObjectRef, Reason, Severity};
use rust_ingress_translate::{Change, Object};

use crate::builtin::Builtin;
use crate::source::files::FILE;
use crate::source::files::listing::{self, Listing, Stamp};
use crate::source::files::manifest::{self, Manifest, Place, SaidHere};
use crate::source::yaml::Lines;

/// Largest manifest, in bytes: ten times what the API server takes for one object.
const MOST_BYTES: u64 = 16 << 20;

/// Between the ages of files that are there at the first look, in seconds: twenty files fit in at the worst place.
const AGE_STEP: i64 = 1 << 20;

/// The largest age: the year 9999 is the last that a timestamp can say.
const OLDEST_AGE: i64 = 200_000_000_000;

/// A folder of manifests.
pub struct Folder {
    root: PathBuf,
    builtin: Builtin,
    files: BTreeMap<String, File>,
    /// What the World has of us: which file it came from, and its content.
    live: BTreeMap<ObjectRef, (String, Digest)>,
    /// The faults that the World has of us, by file.
    said: BTreeMap<String, Vec<SaidHere>>,
    /// Objects that another file has already, as of the last merge.
    duplicates: Vec<Duplicate>,
    /// Whether a file came, went or has other content since the last merge: most looks find that nothing did.
    touched: bool,
}

struct File {
    path: PathBuf,
    stamp: Stamp,
    text: Digest,
    manifest: Manifest,
    /// Stands for the time of creation: of two Ingresses that claim the same, the one in the first file by path wins.
    age: i64,
    /// Gone or empty at the last look. Editors do that for a moment; the next look decides.
    doubted: bool,
}

/// What one look at the folder found.
#[derive(Default)]
pub struct Scan {
    /// For the World.
    pub changes: Vec<Change>,
    /// A file looks as if it were being written: look again soon.
    pub again: bool,
    /// Directories to watch.
    pub directories: BTreeSet<PathBuf>,
}

/// A fault with the file and line that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Path in the folder, `/` between its parts.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// What is wrong.
    pub fault: Fault,
}

impl Folder {
    /// A folder that hasn't been looked at.
    pub fn new(root: &Path, builtin: Builtin) -> Self {
        Self {
            root: root.to_owned(),
            builtin,
            files: BTreeMap::new(),
            live: BTreeMap::new(),
            said: BTreeMap::new(),
            duplicates: Vec::new(),
            touched: false,
        }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// How many manifests there are.
    pub fn files(&self) -> usize {
        self.files.len()
    }

    /// How many objects it gave to the World.
    pub fn objects(&self) -> usize {
        self.live.len()
    }

    /// What the files themselves have to say, in order of path and line.
    pub fn said(&self) -> impl Iterator<Item = Said> + '_ {
        let of = |(file, said): (&String, &SaidHere)| Said { file: file.clone(), line: said.line, fault: said.fault.clone() };
        self.said.iter().flat_map(move |(file, list)| list.iter().map(move |said| of((file, said))))
    }

    /// Where a field of an object stands: the file's path in the folder, and the line. Reads the file.
    pub fn locate(&self, object: &ObjectRef, field: &str) -> Option<(String, u32)> {
        let (path, _) = self.live.get(object)?;
        let file = self.files.get(path)?;
        let place = file.manifest.entries.iter().find(|entry| entry.reference == *object)?.place;
        let text = read_bounded(&file.path).ok()?;
        let texts = manifest::texts(path, &text);
        let (line, text) = texts.get(place.document)?;
        Some((path.clone(), Lines::new(*line, text).of(&place.field(field))))
    }

    /// Looks at the folder. Where it isn't there any more, what it said last stays.
    pub fn scan(&mut self) -> Scan {
        let mut scan = Scan::default();
        let mut troubles = BTreeMap::new();
        match listing::list(&self.root) {
            Ok(listing) => {
                self.read_all(&listing, &mut scan, &mut troubles);
                scan.directories = listing.directories;
                for (path, problem) in listing.problems {
                    troubles.insert(path, problem);
                }
            }
            Err(error) => {
                let parent = std::path::absolute(&self.root).ok().and_then(|path| path.parent().map(Path::to_owned));
                scan.directories.extend(parent);
                troubles.insert(String::new(), error.to_string());
            }
        }
        if std::mem::take(&mut self.touched) {
            self.duplicates = self.merge(&mut scan);
        }
        self.tell(&troubles, &mut scan);
        scan
    }

    fn read_all(&mut self, listing: &Listing, scan: &mut Scan, troubles: &mut BTreeMap<String, String>) {
        self.files.retain(|path, file| {
            let stays = listing.files.contains_key(path) || !file.doubted;
            if !listing.files.contains_key(path) {
                file.doubted = true;
                scan.again |= stays;
                self.touched |= !stays;
            }
            stays
        });
        for (path, (real, stamp)) in &listing.files {
            let known = self.files.get(path);
            if known.is_some_and(|file| file.stamp == *stamp && !file.stamp.is_fresh() && !file.doubted && file.path == *real) {
                continue;
            }
            match read_bounded(real) {
                Ok(text) => self.take(path, real, *stamp, &text, scan),
                Err(problem) => drop(troubles.insert(path.clone(), problem)),
            }
        }
    }

    /// Takes the text of a file that may have changed.
    fn take(&mut self, path: &str, real: &Path, stamp: Stamp, text: &str, scan: &mut Scan) {
        let digest = Digest::of(text);
        let known = self.files.get_mut(path);
        if let Some(known) = known {
            let emptied = text.trim().is_empty() && !known.manifest.entries.is_empty();
            if emptied && !known.doubted {
                known.doubted = true;
                scan.again = true;
                return;
            }
            known.doubted = false;
            known.stamp = stamp;
            known.path = real.to_owned();
            if known.text == digest {
                return;
            }
        }
        let age = self.age(path, scan);
        let mut manifest = manifest::read(path, text, age, self.builtin);
        if let Some(known) = self.files.get_mut(path) {
            keep_last_good(&mut manifest, &mut known.manifest);
        }
        let file = File { path: real.to_owned(), stamp, text: digest, manifest, age, doubted: false };
        self.files.insert(path.to_owned(), file);
        self.touched = true;
    }

    /// The age of a file: what it has, or one between those of its neighbours by path, so that theirs stay.
    fn age(&mut self, path: &str, scan: &mut Scan) -> i64 {
        if let Some(known) = self.files.get(path) {
            return known.age;
        }
        if let Some(age) = self.age_between(path) {
            return age;
        }
        // No room is left: all get new ages, and are read again at the next look.
        for (file, age) in self.files.values_mut().zip((1..).map(|number| number * AGE_STEP)) {
            (file.age, file.text, file.doubted) = (age, Digest::default(), true);
        }
        scan.again = true;
        self.age_between(path).unwrap_or_default()
    }

    fn age_between(&self, path: &str) -> Option<i64> {
        let (below, above) = ((Bound::Unbounded, Bound::Excluded(path)), (Bound::Excluded(path), Bound::Unbounded));
        let before = self.files.range::<str, _>(below).next_back().map_or(0, |(_, file)| file.age);
        let after = self.files.range::<str, _>(above).next().map(|(_, file)| file.age);
        let age = after.map_or(before + AGE_STEP, |after| i64::midpoint(before, after));
        (age > before && age <= OLDEST_AGE).then_some(age)
    }

    /// Finds who wins each object, and hands on what changed. Gives back the losers.
    fn merge(&mut self, scan: &mut Scan) -> Vec<Duplicate> {
        let mut winners: BTreeMap<ObjectRef, (String, Digest, Place)> = BTreeMap::new();
        let mut duplicates = Vec::new();
        for (path, file) in &self.files {
            for entry in &file.manifest.entries {
                match winners.get(&entry.reference) {
                    None => drop(winners.insert(entry.reference.clone(), (path.clone(), entry.digest, entry.place))),
                    Some((first, _, first_place)) if !entry.derived => {
                        let object = entry.reference.clone();
                        let (first, first_place) = (first.clone(), *first_place);
                        duplicates.push(Duplicate { object, path: path.clone(), place: entry.place, first, first_place });
                    }
                    Some(_) => {}
                }
            }
        }
        let gone: Vec<ObjectRef> = self.live.keys().filter(|object| !winners.contains_key(object)).cloned().collect();
        for object in gone {
            self.live.remove(&object);
            scan.changes.push(Change::Delete(object));
        }
        for (reference, (path, digest, _)) in winners {
            if self.live.get(&reference).is_some_and(|(_, live)| *live == digest) {
                self.live.insert(reference, (path, digest));
                continue;
            }
            match self.object(&path, &reference) {
                Some(object) => {
                    scan.changes.push(Change::Put(object));
                    self.live.insert(reference, (path, digest));
                }
                None => {
                    self.live.remove(&reference);
                    scan.changes.push(Change::Delete(reference));
                }
            }
        }
        duplicates
    }

    /// Takes an object out of its file's entry; reads the file again where that was done before.
    fn object(&mut self, path: &str, reference: &ObjectRef) -> Option<Object> {
        let file = self.files.get_mut(path)?;
        let entry = file.manifest.entries.iter_mut().find(|entry| entry.reference == *reference)?;
        if let Some(object) = entry.object.take() {
            return Some(object);
        }
        let again = manifest::read(path, &read_bounded(&file.path).ok()?, file.age, self.builtin);
        again.entries.into_iter().find(|entry| entry.reference == *reference)?.object
    }

    /// Makes the faults of all files, and hands on those of files where they changed.
    fn tell(&mut self, troubles: &BTreeMap<String, String>, scan: &mut Scan) {
        let mut now: BTreeMap<String, Vec<SaidHere>> = BTreeMap::new();
        let mut named = BTreeSet::new();
        for (path, file) in &self.files {
            let unused = file.manifest.unused.iter().filter(|(kind, _)| named.insert(kind.clone()));
            let unused = unused.map(|(kind, line)| unused_kind(path, kind, *line));
            let said: Vec<SaidHere> = file.manifest.said.iter().cloned().chain(unused).collect();
            if !said.is_empty() {
                now.insert(path.clone(), said);
            }
        }
        for (path, problem) in troubles {
            now.entry(path.clone()).or_default().push(trouble(path, problem, &self.root));
        }
        for duplicate in &self.duplicates {
            let doubted = |path: &str| self.files.get(path).is_some_and(|file| file.doubted);
            if !doubted(&duplicate.path) && !doubted(&duplicate.first) {
                now.entry(duplicate.path.clone()).or_default().push(self.duplicate(duplicate));
            }
        }
        for said in now.values_mut() {
            said.sort_by_key(|said| said.line);
        }
        let paths: BTreeSet<&String> = now.keys().chain(self.said.keys()).collect();
        for path in paths {
            let said = now.get(path);
            if said != self.said.get(path) {
                let faults = said.into_iter().flatten().map(|said| said.fault.clone()).collect();
                scan.changes.push(Change::Faults { source: ObjectRef::new(FILE, "", path), faults });
            }
        }
        self.said = now;
    }

    fn duplicate(&self, duplicate: &Duplicate) -> SaidHere {
        let line_of = |path: &str, place: Place| {
            let text = self.files.get(path).and_then(|file| read_bounded(&file.path).ok()).unwrap_or_default();
            let texts = manifest::texts(path, &text);
            texts.get(place.document).map_or(1, |(line, text)| Lines::new(*line, text).of(&place.field("metadata.name")))
        };
        let line = line_of(&duplicate.path, duplicate.place);
        let first_line = line_of(&duplicate.first, duplicate.first_place);
        let Duplicate { object, path, first, .. } = duplicate;
        let fault = Fault {
            object: object.clone(),
            field: "metadata.name".into(),
            severity: Severity::Error,
            reason: Reason::Duplicate,
            message: format!("{first}:{first_line} has this object already; the one in {path}:{line} is ignored"),
            advice: "take one of them away, or give it another name".into(),
        };
        SaidHere { fault, line }
    }
}

/// The second of two of the same object.
struct Duplicate {
    object: ObjectRef,
    path: String,
    place: Place,
    first: String,
    first_place: Place,
}

/// Keeps what a file said before of objects that it can't be read for now.
fn keep_last_good(manifest: &mut Manifest, before: &mut Manifest) {
    let has: BTreeSet<ObjectRef> = manifest.entries.iter().map(|entry| entry.reference.clone()).collect();
    for entry in std::mem::take(&mut before.entries) {
        let lost = manifest.incomplete || manifest.refused.contains(&entry.reference);
        if lost && !has.contains(&entry.reference) {
            manifest.entries.push(entry);
        }
    }
}

fn unused_kind(path: &str, kind: &str, line: u32) -> SaidHere {
    let fault = Fault {
        object: ObjectRef::new(FILE, "", path),
        field: format!("line {line}"),
        severity: Severity::Warning,
        reason: Reason::UnknownKind,
        message: format!("{kind} is not used here; objects of this kind are skipped (named once)"),
        advice: "nothing, unless you expected it to take effect: check its apiVersion and kind".into(),
    };
    SaidHere { fault, line }
}

fn trouble(path: &str, problem: &str, root: &Path) -> SaidHere {
    let shown = root.join(path);
    let fault = Fault {
        object: ObjectRef::new(FILE, "", path),
        field: String::new(),
        severity: Severity::Error,
        reason: Reason::InvalidDocument,
        message: format!("{} can't be read: {problem}; what it said before is kept", shown.display()),
        advice: "check that it is there, that this user may read it, and that it is UTF-8 text of ordinary size".into(),
    };
    SaidHere { fault, line: 1 }
}

/// A file's text, if it is one and not too long.
fn read_bounded(path: &Path) -> Result<String, String> {
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    file.take(MOST_BYTES + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    match u64::try_from(text.len()) {
        // A byte order mark is no part of the first document's marker.
        Ok(len) if len <= MOST_BYTES => Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text)),
        _ => Err(format!("it is larger than {} MiB", MOST_BYTES >> 20)),
    }
}

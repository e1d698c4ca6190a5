//! One manifest: the text of a file to the objects and faults in it. Pure. Called by `folder`.
//!
//! A bad document poisons only itself: the others of its file count.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use rust_ingress_model::{Digest, Fault, ObjectRef, Reason, Severity};
use rust_ingress_translate::Object;
use serde_json::Value;

use crate::builtin::Builtin;
use crate::source::files::FILE;
use crate::source::kinds::{self, Reading, Refused};
use crate::source::yaml::{self, Lines};

/// In seconds since 1970: younger than whatever says when it was created.
const YEAR_3000: i64 = 32_503_680_000;

/// Where an object stands in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The document, counted from 0 over those that have content.
    pub document: usize,
    /// Which item, in a `List`.
    pub item: Option<usize>,
}

impl Place {
    /// An object's field as a field of its document.
    pub fn field(self, field: &str) -> String {
        match self.item {
            None => field.to_owned(),
            Some(item) if field.is_empty() => format!("items[{item}]"),
            Some(item) => format!("items[{item}].{field}"),
        }
    }
}

/// An object of a file.
pub struct Entry {
    /// Which.
    pub reference: ObjectRef,
    /// Of its content.
    pub digest: Digest,
    /// Where it stands.
    pub place: Place,
    /// Made from the object before it, not written: it has no say in duplicates.
    pub derived: bool,
    /// The object, until it is handed on.
    pub object: Option<Object>,
}

/// A fault and the line that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaidHere {
    /// What is wrong.
    pub fault: Fault,
    /// From 1.
    pub line: u32,
}

/// What a file says.
#[derive(Default)]
pub struct Manifest {
    /// Its objects.
    pub entries: Vec<Entry>,
    /// What is wrong in it.
    pub said: Vec<SaidHere>,
    /// Kinds that aren't used here, as `version kind`, and where.
    pub unused: BTreeSet<(String, u32)>,
    /// Whether a document couldn't be read at all, so that objects may be missing.
    pub incomplete: bool,
    /// Objects that are there, but can't be used as written.
    pub refused: BTreeSet<ObjectRef>,
}

/// Reads the text of a file. `age` stands for the time of creation, which Ingresses in files don't have: the smaller is the
/// older, and all are younger than an object that says when it was created.
pub fn read(path: &str, text: &str, age: i64, builtin: Builtin) -> Manifest {
    let mut reader = Reader { file: ObjectRef::new(FILE, "", path), age, builtin, manifest: Manifest::default() };
    for (document, (line, text)) in texts(path, text).into_iter().enumerate() {
        reader.document(document, line, text);
    }
    reader.manifest
}

/// The documents of a file. JSON has no document markers.
pub fn texts<'a>(path: &str, text: &'a str) -> Vec<(u32, &'a str)> {
    if path.ends_with(".json") { vec![(1, text)] } else { yaml::documents(text) }
}

struct Reader {
    file: ObjectRef,
    age: i64,
    builtin: Builtin,
    manifest: Manifest,
}

impl Reader {
    fn document(&mut self, document: usize, first_line: u32, text: &str) {
        let value = match yaml::parse(first_line, text) {
            Ok(Value::Null) => return,
            Ok(value) => value,
            Err(broken) => {
                self.manifest.incomplete = true;
                let field = match broken.column {
                    0 => format!("line {}", broken.line),
                    column => format!("line {}, column {column}", broken.line),
                };
                let advice = "mend the YAML; until then the objects that this file had before are kept";
                return self.say(broken.line, self.file.clone(), field, Reason::InvalidDocument, broken.message, advice);
            }
        };
        let mut lines = LazyLines { first_line, text, lines: None };
        self.value(value, Place { document, item: None }, &mut lines);
    }

    fn value(&mut self, value: Value, place: Place, lines: &mut LazyLines<'_>) {
        let digest = Digest::of(&value);
        match kinds::read(value) {
            Ok(Reading::Object(read)) => {
                let reference = read.object.reference();
                for field in read.unknown {
                    let line = lines.of(&place.field(&field));
                    let message = format!("{} has no such field; it is ignored", reference.kind);
                    let advice = "check its spelling and its place";
                    self.warn(line, reference.clone(), field, Reason::InvalidValue, message, advice);
                }
                self.entry(reference, digest, place, read.object, lines);
            }
            Ok(Reading::Unused(kind)) => {
                let line = lines.of(&place.field("kind"));
                self.manifest.unused.insert((kind, line));
            }
            Ok(Reading::List(items)) if place.item.is_none() => {
                for (index, item) in items.into_iter().enumerate() {
                    self.value(item, Place { item: Some(index), ..place }, lines);
                }
            }
            Ok(Reading::List(_)) => {
                let line = lines.of(&place.field(""));
                let message = "a List in a List is not read".to_owned();
                let advice = "write its items into the outer List";
                self.say(line, self.file.clone(), format!("line {line}"), Reason::InvalidDocument, message, advice);
            }
            Err(refused) => self.refuse(refused, place, lines),
        }
    }

    fn refuse(&mut self, refused: Refused, place: Place, lines: &mut LazyLines<'_>) {
        let line = lines.of(&place.field(&refused.field));
        let reason = if refused.missing { Reason::Required } else { Reason::InvalidValue };
        let advice = match refused.missing {
            true => "write it, or move what is no Kubernetes object out of this folder",
            false => "write a value of the type that the Kubernetes API says; an annotation's value is a text: quote it",
        };
        self.manifest.refused.extend(refused.object.clone());
        let object = refused.object.unwrap_or_else(|| self.file.clone());
        self.say(line, object, refused.field, reason, refused.message, advice);
    }

    fn entry(&mut self, reference: ObjectRef, mut digest: Digest, place: Place, mut object: Object, lines: &mut LazyLines<'_>) {
        let metadata = match &mut object {
            Object::Ingress(ingress) => Some(&mut ingress.metadata),
            Object::IngressClass(class) => Some(&mut class.metadata),
            _ => None,
        };
        if let Some(metadata) = metadata.filter(|metadata| metadata.creation_timestamp.is_none()) {
            metadata.creation_timestamp = Timestamp::from_second(YEAR_3000.saturating_add(self.age)).ok().map(Time);
            digest = Digest::of(&(digest, self.age));
        }
        if let Object::Service(service) = &object {
            match self.builtin.slice(service) {
                Ok(None) => {}
                Ok(Some(slice)) => {
                    let slice = Object::EndpointSlice(Box::new(slice));
                    let digest = Digest::of(&(digest, self.builtin));
                    let reference = slice.reference();
                    self.manifest.entries.push(Entry { reference, digest, place, derived: true, object: Some(slice) });
                }
                Err(fault) => {
                    let line = lines.of(&place.field(&fault.field));
                    self.manifest.said.push(SaidHere { fault: *fault, line });
                }
            }
        }
        self.manifest.entries.push(Entry { reference, digest, place, derived: false, object: Some(object) });
    }

    fn say(&mut self, line: u32, object: ObjectRef, field: String, reason: Reason, message: String, advice: &str) {
        let fault = Fault { object, field, severity: Severity::Error, reason, message, advice: advice.to_owned() };
        self.manifest.said.push(SaidHere { fault, line });
    }

    fn warn(&mut self, line: u32, object: ObjectRef, field: String, reason: Reason, message: String, advice: &str) {
        let fault = Fault { object, field, severity: Severity::Warning, reason, message, advice: advice.to_owned() };
        self.manifest.said.push(SaidHere { fault, line });
    }
}

/// Positions of one document, read when the first is asked for: a good document needs none.
struct LazyLines<'a> {
    first_line: u32,
    text: &'a str,
    lines: Option<Lines>,
}

impl LazyLines<'_> {
    fn of(&mut self, field: &str) -> u32 {
        self.lines.get_or_insert_with(|| Lines::new(self.first_line, self.text)).of(field)
    }
}

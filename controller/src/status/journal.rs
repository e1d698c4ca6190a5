//! The journal: which Events have to be written, so that `kubectl describe` says what is wrong with an object.
//!
//! Pure: told which faults came and went, with the time as data. A fault is told when it has lasted [`SETTLE`]; told again each
//! [`AGAIN`] while it lasts (the API server forgets Events after an hour); and when it goes, a Normal Event says so, since the
//! Warning stays in sight. The same fault has the same name for every leader, so that a new one adds to the series.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rust_ingress_model::{Fault, ObjectRef};

use crate::status::bucket::Bucket;

/// How long a fault must last to be told: a Secret often arrives just after its Ingress.
pub const SETTLE: Duration = Duration::from_secs(2);
/// When a fault that lasts is told again.
pub const AGAIN: Duration = Duration::from_mins(30);
/// Events a second, for all objects, and at once.
const EVERY: Duration = Duration::from_millis(100);
const BURST: u32 = 50;
/// Events of one object, as in client-go: an Ingress with 500 bad paths shows the first of them.
const OBJECT_BURST: u32 = 25;
const OBJECT_EVERY: Duration = Duration::from_mins(5);
/// What the API server takes as a note, in bytes.
const NOTE: usize = 1024;
/// What is left of an Event's name (253) after the dot and the 16 digits.
const STEM: usize = 236;

/// What to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Something is wrong.
    Wrong,
    /// It no longer is.
    Resolved,
}

/// One Event to write.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// What it tells.
    pub kind: Kind,
    /// Of which fault.
    pub fault: Arc<Fault>,
}

/// What to do now.
#[derive(Debug, PartialEq)]
pub enum Next {
    /// Write this Event; its loss is no harm.
    Tell(Entry),
    /// Nothing before this time, or before being told something.
    Wait(Option<Instant>),
}

/// The faults there are and what has been told of them.
pub struct Journal {
    /// By fault: when it is to be told next, and whether it has been told.
    faults: BTreeMap<Arc<Fault>, (Instant, bool)>,
    due: BTreeSet<(Instant, Arc<Fault>)>,
    resolved: VecDeque<Arc<Fault>>,
    bucket: Bucket,
    objects: BTreeMap<ObjectRef, Bucket>,
    dropped: u64,
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            faults: BTreeMap::new(),
            due: BTreeSet::new(),
            resolved: VecDeque::new(),
            bucket: Bucket::new(BURST, EVERY),
            objects: BTreeMap::new(),
            dropped: 0,
        }
    }
}

impl Journal {
    /// A turn of the driver is live.
    pub fn turn(&mut self, came: Vec<Fault>, went: &[Fault], now: Instant) {
        for fault in went {
            let Some((fault, (at, told))) = self.faults.remove_entry(fault) else { continue };
            self.due.remove(&(at, fault.clone()));
            if told {
                self.resolved.push_back(fault);
            }
        }
        for fault in came {
            self.schedule(Arc::new(fault), now + SETTLE, false);
        }
    }

    fn schedule(&mut self, fault: Arc<Fault>, at: Instant, told: bool) {
        if let Some((old, _)) = self.faults.insert(fault.clone(), (at, told)) {
            self.due.remove(&(old, fault.clone()));
        }
        self.due.insert((at, fault));
    }

    /// We lead from now on: tells all that is wrong, as those before us may not have.
    pub fn begin(&mut self, now: Instant) {
        self.resolved.clear();
        let all: Vec<Arc<Fault>> = self.faults.keys().cloned().collect();
        for fault in all {
            self.schedule(fault, now + SETTLE, false);
        }
    }

    /// The next Event, if there is one.
    pub fn next(&mut self, now: Instant) -> Next {
        loop {
            let lasting = self.due.first().filter(|(at, _)| *at <= now).map(|(_, fault)| (fault.clone(), Kind::Wrong));
            let gone = || self.resolved.front().map(|fault| (fault.clone(), Kind::Resolved));
            let Some((fault, kind)) = gone().or(lasting) else { return Next::Wait(self.due.first().map(|(at, _)| *at)) };
            if self.object(&fault.object, now).take(now).is_err() {
                self.dropped += 1;
                self.settle(fault, kind, now, false);
                continue;
            }
            if let Err(at) = self.bucket.take(now) {
                return Next::Wait(Some(at));
            }
            self.settle(fault.clone(), kind, now, true);
            return Next::Tell(Entry { kind, fault });
        }
    }

    fn object(&mut self, object: &ObjectRef, now: Instant) -> &mut Bucket {
        if !self.objects.contains_key(object) && self.objects.len() >= 1024 {
            self.objects.retain(|_, bucket| !bucket.is_full(now));
        }
        self.objects.entry(object.clone()).or_insert_with(|| Bucket::new(OBJECT_BURST, OBJECT_EVERY))
    }

    fn settle(&mut self, fault: Arc<Fault>, kind: Kind, now: Instant, told: bool) {
        match kind {
            Kind::Resolved => drop(self.resolved.pop_front()),
            Kind::Wrong => self.schedule(fault, now + AGAIN, told),
        }
    }

    /// Events left out since this was last asked.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}

impl Entry {
    /// The Event's name: the same for the same fault of the same object, whoever writes it.
    pub fn name(&self, uid: &str) -> String {
        let mut hasher = DefaultHasher::new();
        let Fault { object, field, reason, message, .. } = &*self.fault;
        (uid, self.kind, &*object.kind, field, reason.to_string(), message).hash(&mut hasher);
        let stem = cut(&object.name, STEM).trim_end_matches(['.', '-']);
        format!("{stem}.{:016x}", hasher.finish())
    }

    /// `ServiceNotFound`, `Resolved`.
    pub fn reason(&self) -> String {
        match self.kind {
            Kind::Wrong => self.fault.reason.to_string(),
            Kind::Resolved => "Resolved".into(),
        }
    }

    /// `Warning`, or `Normal`.
    pub fn type_(&self) -> &'static str {
        match self.kind {
            Kind::Wrong => "Warning",
            Kind::Resolved => "Normal",
        }
    }

    /// For people.
    pub fn note(&self) -> String {
        let Fault { field, reason, message, advice, .. } = &*self.fault;
        let place = if field.is_empty() { String::new() } else { format!("{field}: ") };
        let note = match self.kind {
            Kind::Wrong => format!("{place}{message}; {advice}"),
            Kind::Resolved => format!("{reason} no longer: {place}{message}"),
        };
        if note.len() <= NOTE { note } else { format!("{}...", cut(&note, NOTE - 3)) }
    }
}

/// At most `bytes` of a text, cut between characters.
fn cut(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use rust_ingress_model::fault::{Reason, Severity};

    use super::*;

    fn fault(name: &str, message: &str) -> Fault {
        Fault {
            object: ObjectRef::new("Ingress", "default", name),
            field: "spec.rules[0]".into(),
            severity: Severity::Error,
            reason: Reason::ServiceNotFound,
            message: message.into(),
            advice: "make it".into(),
        }
    }

    /// All that is told at a time.
    fn told(journal: &mut Journal, now: Instant) -> Vec<(Kind, String)> {
        let mut list = Vec::new();
        while let Next::Tell(Entry { kind, fault }) = journal.next(now) {
            list.push((kind, fault.message.clone()));
        }
        list
    }

    #[test]
    fn a_fault_is_told_when_it_lasts() {
        let (mut journal, now) = (Journal::default(), Instant::now());
        journal.turn(vec![fault("a", "short"), fault("a", "lasting")], &[], now);
        assert_eq!(journal.next(now), Next::Wait(Some(now + SETTLE)));
        journal.turn(vec![], &[fault("a", "short")], now);
        assert_eq!(told(&mut journal, now + SETTLE), [(Kind::Wrong, "lasting".into())]);
        assert_eq!(journal.next(now + SETTLE), Next::Wait(Some(now + SETTLE + AGAIN)), "once");
        assert_eq!(told(&mut journal, now + SETTLE + AGAIN).len(), 1, "and again while it lasts");
    }

    #[test]
    fn what_was_told_is_told_to_be_over_and_nothing_else() {
        let (mut journal, now) = (Journal::default(), Instant::now());
        journal.turn(vec![fault("a", "x")], &[], now);
        told(&mut journal, now + SETTLE);
        journal.turn(vec![], &[fault("a", "x"), fault("a", "never there")], now + SETTLE);
        assert_eq!(told(&mut journal, now + SETTLE), [(Kind::Resolved, "x".into())]);
        assert_eq!(journal.next(now + SETTLE), Next::Wait(None));
    }

    #[test]
    fn a_new_leader_tells_what_is_wrong_and_not_what_was() {
        let (mut journal, now) = (Journal::default(), Instant::now());
        journal.turn(vec![fault("a", "x"), fault("a", "y")], &[], now);
        told(&mut journal, now + SETTLE);
        journal.turn(vec![], &[fault("a", "y")], now + SETTLE);
        journal.begin(now + SETTLE);
        assert_eq!(told(&mut journal, now + SETTLE * 2), [(Kind::Wrong, "x".into())]);
    }

    #[test]
    fn one_object_cannot_fill_the_list_and_all_together_keep_a_rate() {
        let (mut journal, now) = (Journal::default(), Instant::now());
        let many = |name: &str| (0..500).map(|n| fault(name, &n.to_string())).collect::<Vec<_>>();
        journal.turn(many("a"), &[], now);
        assert_eq!(told(&mut journal, now + SETTLE).len(), OBJECT_BURST as usize);
        assert_eq!(journal.take_dropped(), 475);
        let others = (0..500).map(|n| fault(&n.to_string(), "x")).collect();
        journal.turn(others, &[], now);
        assert_eq!(told(&mut journal, now + SETTLE).len(), (BURST - OBJECT_BURST) as usize);
        let Next::Wait(Some(at)) = journal.next(now + SETTLE) else { panic!("waits") };
        assert_eq!(told(&mut journal, at).len(), 1);
    }

    #[test]
    fn an_event_has_one_name_for_all_leaders_and_fits() {
        let entry = |fault: Fault| Entry { kind: Kind::Wrong, fault: Arc::new(fault) };
        let one = entry(fault("a", "x"));
        assert_eq!(one.name("u1"), entry(fault("a", "x")).name("u1"));
        assert_ne!(one.name("u1"), one.name("u2"), "the object was made anew");
        assert_ne!(one.name("u1"), entry(fault("a", "y")).name("u1"));
        assert_ne!(one.name("u1"), Entry { kind: Kind::Resolved, ..one.clone() }.name("u1"));
        let long = entry(fault(&"a.".repeat(120), &"é".repeat(2000)));
        assert!(long.name("u").len() <= 253 && !long.name("u").contains(".."), "{}", long.name("u"));
        assert!(long.note().len() <= NOTE && long.note().ends_with("é..."));
        assert_eq!(one.note(), "spec.rules[0]: x; make it");
    }
}

//! Annotations of an Ingress as typed wishes: ours (`rust-ingress.dev/…`) and ingress-nginx's. Called when an Ingress is parsed.
//!
//! A value that can't be read switches its setting off, with a fault; where the setting guards, its routes answer 503.

mod nginx;
mod own;
mod table;

use std::collections::{BTreeMap, BTreeSet};

use rust_ingress_model::{AppProtocol, Guard, Reason, Timeouts, Verdict};

use crate::faults::Faults;

pub(crate) use own::{l7, service_faults};

/// Prefix of our own annotations.
pub(crate) const OWN: &str = "rust-ingress.dev/";

/// What the annotations of an Ingress ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    /// Redirect to HTTPS: always, never, or (`None`) where the host is under `tls`.
    pub(crate) redirect_https: Option<bool>,
    /// Largest request body in bytes; `u64::MAX`: no limit.
    pub(crate) max_body: Option<u64>,
    /// Limits in time.
    pub(crate) timeouts: Timeouts,
    /// What its backends speak; `None` leaves it to the Service.
    pub(crate) protocol: Option<AppProtocol>,
    /// Paths of type ImplementationSpecific are regular expressions.
    pub(crate) use_regex: bool,
    /// Guards that are asked for and can't be built.
    pub(crate) guards: Vec<Guard>,
    /// A canary of another Ingress: must not take requests as if it were a main one.
    pub(crate) canary: bool,
}

/// Reads all annotations of an Ingress.
pub(crate) fn read(annotations: &BTreeMap<String, String>, faults: &mut Faults) -> (Wishes, Vec<Verdict>) {
    let mut wishes = Wishes::default();
    let mut accepted = BTreeSet::new();
    let ours: BTreeMap<&str, &str> =
        annotations.iter().filter_map(|(name, value)| Some((name.strip_prefix(OWN)?, value.as_str()))).collect();
    for (name, value) in &ours {
        own::read(name, value, &mut wishes, &mut accepted, faults);
    }
    let verdicts = nginx::read(annotations, &ours, &accepted, &mut wishes, faults);
    (wishes, verdicts)
}

/// The field path of an annotation.
pub(crate) fn field(name: &str) -> String {
    format!("metadata.annotations[\"{name}\"]")
}

/// A guard that can't be read: its routes answer 503.
fn unreadable_guard(annotation: &str, value: &str, expected: &str, wishes: &mut Wishes, faults: &mut Faults) {
    let message = format!("{value:?} can't be read, and the setting guards: the routes of this Ingress answer 503");
    faults.error(field(annotation), Reason::InvalidAnnotation, message, format!("write {expected}"));
    let reason = format!("annotation {annotation} can't be read; see the Ingress' faults");
    wishes.guards.push(Guard::Unavailable { flag: annotation.into(), reason });
}

/// A setting that can't be read: it stays off.
fn unreadable(annotation: &str, value: &str, expected: &str, faults: &mut Faults) {
    let message = format!("{value:?} can't be read: the setting is off");
    faults.error(field(annotation), Reason::InvalidAnnotation, message, format!("write {expected}"));
}

/// A size in bytes: a number and `k`, `m`, `g` or nothing. 0 means no limit.
fn size(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let (digits, unit) = match text.chars().last()? {
        'k' => (text.strip_suffix('k')?, 1 << 10),
        'm' => (text.strip_suffix('m')?, 1 << 20),
        'g' => (text.strip_suffix('g')?, 1 << 30),
        _ => (text.as_str(), 1),
    };
    match number(digits)?.checked_mul(unit)? {
        0 => Some(u64::MAX),
        bytes => Some(bytes),
    }
}

/// Digits only: no sign, no space.
fn number(digits: &str) -> Option<u64> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [("1024", 1024), ("8k", 8192), ("8M", 8 << 20), ("1g", 1 << 30), ("0", u64::MAX)] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for bad in ["", "m", "-1", "+1", "1.5m", "8mb", "99999999999g"] {
            assert_eq!(size(bad), None, "{bad}");
        }
    }
}

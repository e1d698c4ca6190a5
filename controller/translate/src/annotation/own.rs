//! Our own annotations, `rust-ingress.dev/…`.

use std::collections::{BTreeMap, BTreeSet};

use rust_ingress_model::l4::L7 as L7Mode;
use rust_ingress_model::{AppProtocol, Fault, ObjectRef, Reason};

use super::{OWN, Wishes, field, number, size, table, unreadable, unreadable_guard};
use crate::faults::Faults;
use crate::settings::Origin;

/// The annotation of a Service that asks for a backend built into the program.
const BUILTIN_BACKEND: &str = "builtin-backend";

/// The annotation of a Service whose traffic is to go through the L7 proxy of the node.
const L7: &str = "l7";

/// The annotations by which a Service asks pools for addresses; `pool` reads them.
const ADDRESSES: &str = "addresses";
const ADDRESS_POOL: &str = "address-pool";
const SHARE_ADDRESS: &str = "share-address";

const NAMES: &str = "redirect-https, max-body-size, connect-timeout, response-timeout, idle-timeout, request-timeout, \
                     backend-protocol, use-regex, accept-unsupported";

/// Reads one annotation of an Ingress; `name` is without the prefix.
pub(super) fn read(name: &str, value: &str, wishes: &mut Wishes, accepted: &mut BTreeSet<&'static str>, faults: &mut Faults) {
    let full = format!("{OWN}{name}");
    let mut timeout = || {
        let milliseconds = duration(value);
        if milliseconds.is_none() {
            unreadable(&full, value, "a duration such as 5s, 500ms or 1m30s; 0s for no limit", faults);
        }
        milliseconds
    };
    match name {
        "connect-timeout" => wishes.timeouts.connect_ms = timeout(),
        "response-timeout" => wishes.timeouts.response_headers_ms = timeout(),
        "idle-timeout" => wishes.timeouts.idle_ms = timeout(),
        "request-timeout" => wishes.timeouts.request_ms = timeout(),
        "redirect-https" => match boolean(value) {
            Some(on) => wishes.redirect_https = Some(on),
            None => unreadable_guard(&full, value, "\"true\" or \"false\"", wishes, faults),
        },
        "max-body-size" => match size(value) {
            Some(bytes) => wishes.max_body = Some(bytes),
            None => unreadable_guard(&full, value, "a number of bytes, or one with k, m or g; 0 for no limit", wishes, faults),
        },
        "backend-protocol" => match protocol(value) {
            Some(protocol) => wishes.protocol = Some(protocol),
            None => unreadable(&full, value, "HTTP, HTTPS, H2C, GRPC or GRPCS", faults),
        },
        "use-regex" => match boolean(value) {
            Some(on) => wishes.use_regex = on,
            None => unreadable(&full, value, "\"true\" or \"false\"", faults),
        },
        "accept-unsupported" => accept(&full, value, accepted, faults),
        _ => faults.error(
            field(&full),
            Reason::UnknownAnnotation,
            format!("no annotation {name} of an Ingress is known with the prefix {OWN}"),
            format!("check the spelling; known are {NAMES}"),
        ),
    }
}

/// `accept-unsupported`: guards that the user does without, by name, with or without the prefix of ingress-nginx.
fn accept(full: &str, value: &str, accepted: &mut BTreeSet<&'static str>, faults: &mut Faults) {
    for name in value.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        match table::find(name.strip_prefix(table::PREFIX).unwrap_or(name)) {
            Some(known) => {
                accepted.insert(known.name);
            }
            None => faults.error(
                field(full),
                Reason::InvalidAnnotation,
                format!("{name} isn't an annotation of ingress-nginx: nothing is accepted by it"),
                format!("check the spelling; write names as after {}", table::PREFIX),
            ),
        }
    }
}

/// What is wrong with a Service's own annotations. In a folder its source reads the value of `builtin-backend`.
pub(crate) fn service_faults(object: &ObjectRef, annotations: &BTreeMap<String, String>, origin: Origin) -> Vec<Fault> {
    let mut faults = Faults::of(object.clone());
    for (full, value) in annotations {
        match (full.strip_prefix(OWN), origin) {
            (None, _) => {}
            (Some(BUILTIN_BACKEND), Origin::Files) => {}
            (Some(BUILTIN_BACKEND), Origin::Cluster) => faults.error(
                field(full),
                Reason::FilesOnly,
                "built-in backends are for manifest folders; in a cluster the annotation does nothing",
                "remove it, and give the Service a selector",
            ),
            (Some(L7), _) => {
                if switch(value).is_none() {
                    unreadable(full, value, "enabled, required or disabled", &mut faults);
                }
            }
            // What they say is checked where pools are: whether a Service asks them at all depends on more.
            (Some(ADDRESSES | ADDRESS_POOL | SHARE_ADDRESS), _) => {}
            (Some(name), _) => faults.error(
                field(full),
                Reason::UnknownAnnotation,
                format!("no annotation {name} of a Service is known with the prefix {OWN}"),
                format!("check the spelling; known are {ADDRESS_POOL}, {ADDRESSES}, {BUILTIN_BACKEND}, {L7}, {SHARE_ADDRESS}"),
            ),
        }
    }
    faults.into_list()
}

/// Whether a Service asks for the L7 proxy of the node.
pub(crate) fn l7(annotations: Option<&BTreeMap<String, String>>) -> L7Mode {
    let value = annotations.and_then(|annotations| annotations.get("rust-ingress.dev/l7"));
    value.and_then(|value| switch(value)).unwrap_or_default()
}

fn switch(text: &str) -> Option<L7Mode> {
    match text {
        "enabled" => Some(L7Mode::Enabled),
        "required" => Some(L7Mode::Required),
        "disabled" => Some(L7Mode::Off),
        _ => None,
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

fn protocol(text: &str) -> Option<AppProtocol> {
    match text.to_ascii_uppercase().as_str() {
        "HTTP" => Some(AppProtocol::Http),
        "HTTPS" => Some(AppProtocol::Https),
        "H2C" | "GRPC" => Some(AppProtocol::H2c),
        "GRPCS" => Some(AppProtocol::H2Tls),
        _ => None,
    }
}

/// A duration in milliseconds, in the form of Go's `time.ParseDuration` without fractions: `1m30s`, `500ms`, `0`.
fn duration(text: &str) -> Option<u32> {
    if text == "0" {
        return Some(0);
    }
    let (mut rest, mut total) = (text, 0_u64);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (amount, tail) = rest.split_at_checked(digits)?;
        let end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(end)?;
        let unit = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        total = total.checked_add(number(amount)?.checked_mul(unit)?)?;
        rest = tail;
    }
    if text.is_empty() { None } else { u32::try_from(total).ok() }
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn durations_of_go() {
        for (text, milliseconds) in [("5s", 5000), ("500ms", 500), ("1m30s", 90_000), ("1h", 3_600_000), ("0", 0), ("0s", 0)] {
            assert_eq!(duration(text), Some(milliseconds), "{text}");
        }
        for bad in ["", "5", "s", "5 s", "-5s", "1.5s", "5d", "9999h9999999999999999s"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }
}

//! Annotations of ingress-nginx: a verdict on each, and a guard for each that guards and isn't supported.
//!
//! Where an annotation of ours says the same thing, ours counts.

use std::collections::{BTreeMap, BTreeSet};

use rust_ingress_model::{AppProtocol, Guard, Reason, Verdict, VerdictKind};

use super::table::{Known, PREFIX, Setting, Treatment, find};
use super::{OWN, Wishes, field, number, size, unreadable_guard};
use crate::faults::Faults;

/// Reads them all; `ours` are our own annotations of the same Ingress, `accepted` the guards that the user does without.
pub(super) fn read(
    annotations: &BTreeMap<String, String>,
    ours: &BTreeMap<&str, &str>,
    accepted: &BTreeSet<&'static str>,
    wishes: &mut Wishes,
    faults: &mut Faults,
) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for (full, value) in annotations {
        let Some(name) = full.strip_prefix(PREFIX) else { continue };
        let (kind, note) = match find(name) {
            None => unknown(full, faults),
            Some(known) if known.off == Some(value.as_str()) && !known.is_redirect() => {
                (VerdictKind::NoEffect, format!("{value:?} asks for nothing"))
            }
            Some(known) => match known.treatment {
                Treatment::NoEffect(why) => (VerdictKind::NoEffect, why.to_owned()),
                Treatment::Unsupported => unsupported(full, known, faults),
                Treatment::Guard if accepted.contains(known.name) => {
                    (VerdictKind::Accepted, format!("accepted by {OWN}accept-unsupported: its routes go unguarded by it"))
                }
                Treatment::Guard => refuse(full, known, wishes, faults),
                Treatment::Set(setting) => match setting.own().filter(|own| ours.contains_key(own)) {
                    Some(own) => (VerdictKind::NoEffect, format!("{OWN}{own} says it instead")),
                    None => set(full, value, setting, wishes, faults),
                },
            },
        };
        verdicts.push(Verdict { annotation: full.clone(), kind, note });
    }
    verdicts
}

type Said = (VerdictKind, String);

fn unknown(full: &str, faults: &mut Faults) -> Said {
    faults.error(
        field(full),
        Reason::UnknownAnnotation,
        "ingress-nginx has no annotation of this name: it does nothing",
        "check the spelling, or remove it",
    );
    (VerdictKind::Unknown, "ingress-nginx has no annotation of this name".into())
}

fn unsupported(full: &str, known: &Known, faults: &mut Faults) -> Said {
    let message = format!("{} isn't supported: the routes are served without it", known.name);
    let advice = match known.name {
        "use-regex" => {
            "write rust-ingress.dev/use-regex in its place: there an expression is for the whole path, and case counts"
        }
        _ => "remove it if the routes don't need it",
    };
    faults.warning(field(full), Reason::UnsupportedAnnotation, message, advice);
    (VerdictKind::Unsupported, format!("group {}: the routes are served without it", known.group))
}

fn refuse(full: &str, known: &Known, wishes: &mut Wishes, faults: &mut Faults) -> Said {
    let name = known.name;
    let elsewhere = if known.host_wide() { "; other Ingresses of its hosts, which it guarded there, are served" } else { "" };
    faults.error(
        field(full),
        Reason::UnsupportedGuard,
        format!("{name} guards and isn't supported: the routes of this Ingress answer 503{elsewhere}"),
        format!("remove it, or go without this guard by {OWN}accept-unsupported: \"{name}\""),
    );
    let reason = format!("annotation {full} guards this route and isn't supported");
    wishes.guards.push(Guard::Unavailable { flag: full.into(), reason });
    (VerdictKind::Refused, format!("group {} of ingress-nginx{elsewhere}", known.group))
}

impl Known {
    /// ingress-nginx puts these on the whole server of a host. Here an Ingress' guards are its own: no Ingress takes down another's
    /// routes.
    fn host_wide(&self) -> bool {
        self.name == "server-snippet" || self.name.starts_with("auth-tls-")
    }

    /// `ssl-redirect` and its like mean something with either value.
    fn is_redirect(&self) -> bool {
        matches!(self.treatment, Treatment::Set(Setting::SslRedirect | Setting::ForceSslRedirect))
    }
}

impl Setting {
    /// Our own annotation that says the same.
    fn own(self) -> Option<&'static str> {
        match self {
            Self::BackendProtocol => Some("backend-protocol"),
            Self::BodySize => Some("max-body-size"),
            Self::ConnectTimeout => Some("connect-timeout"),
            Self::ReadTimeout => Some("response-timeout"),
            Self::SslRedirect | Self::ForceSslRedirect => Some("redirect-https"),
            Self::Canary => None,
        }
    }
}

fn set(full: &str, value: &str, setting: Setting, wishes: &mut Wishes, faults: &mut Faults) -> Said {
    let works = |note: &str| (VerdictKind::Works, note.to_owned());
    match setting {
        Setting::BackendProtocol => match protocol(value) {
            Some(protocol) => wishes.protocol = Some(protocol),
            None => return bad(full, value, "HTTP, HTTPS, GRPC or GRPCS; FCGI and AUTO_HTTP aren't supported", faults),
        },
        Setting::BodySize => match size(value) {
            Some(bytes) => wishes.max_body = Some(bytes),
            None => {
                unreadable_guard(full, value, "a number of bytes, or one with k, m or g; 0 for no limit", wishes, faults);
                return (VerdictKind::Refused, "its value can't be read: the routes answer 503".into());
            }
        },
        Setting::ConnectTimeout => match seconds(value) {
            Some(milliseconds) => wishes.timeouts.connect_ms = Some(milliseconds),
            None => return bad(full, value, "a number of seconds", faults),
        },
        Setting::ReadTimeout => match seconds(value) {
            Some(milliseconds) => {
                wishes.timeouts.response_headers_ms = Some(milliseconds);
                wishes.timeouts.idle_ms.get_or_insert(milliseconds);
                return works("to the response's head, and between its bytes");
            }
            None => return bad(full, value, "a number of seconds", faults),
        },
        Setting::SslRedirect | Setting::ForceSslRedirect => return redirect(full, value, setting, wishes, faults),
        Setting::Canary => return canary(full, value, wishes, faults),
    }
    works("a setting of the routes means the same")
}

/// `ssl-redirect: "false"` switches the redirect off, `force-ssl-redirect: "true"` switches it on without `tls`, and wins.
fn redirect(full: &str, value: &str, setting: Setting, wishes: &mut Wishes, faults: &mut Faults) -> Said {
    match (setting, value) {
        (Setting::ForceSslRedirect, "true") => wishes.redirect_https = Some(true),
        (Setting::ForceSslRedirect, "false") => return (VerdictKind::NoEffect, "\"false\" asks for nothing".into()),
        (Setting::ForceSslRedirect, _) => {
            unreadable_guard(full, value, "\"true\" or \"false\"", wishes, faults);
            return (VerdictKind::Refused, "its value can't be read: the routes answer 503".into());
        }
        (_, "true") => return (VerdictKind::Works, "as is the default where the host is under tls".into()),
        (_, "false") => {
            wishes.redirect_https.get_or_insert(false);
        }
        _ => return bad(full, value, "\"true\" or \"false\"", faults),
    }
    (VerdictKind::Works, "redirects to HTTPS with status 308".into())
}

fn canary(full: &str, value: &str, wishes: &mut Wishes, faults: &mut Faults) -> Said {
    if value != "true" {
        return bad(full, value, "\"true\" or \"false\"", faults);
    }
    wishes.canary = true;
    faults.error(
        field(full),
        Reason::UnsupportedAnnotation,
        "canaries aren't supported: this Ingress gets no request, the main one gets all of them",
        "remove the canary until the release is done",
    );
    (VerdictKind::Unsupported, "group Canary: this Ingress gets no request".into())
}

fn bad(full: &str, value: &str, expected: &str, faults: &mut Faults) -> Said {
    super::unreadable(full, value, expected, faults);
    (VerdictKind::Unsupported, "its value can't be read: the setting is off".into())
}

fn protocol(value: &str) -> Option<AppProtocol> {
    match value.to_ascii_uppercase().as_str() {
        "HTTP" => Some(AppProtocol::Http),
        "HTTPS" => Some(AppProtocol::Https),
        "GRPC" => Some(AppProtocol::H2c),
        "GRPCS" => Some(AppProtocol::H2Tls),
        _ => None,
    }
}

/// Whole seconds, without a unit, in milliseconds.
fn seconds(value: &str) -> Option<u32> {
    u32::try_from(number(value)?.checked_mul(1000)?).ok()
}

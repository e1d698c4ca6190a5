//! Why a watch doesn't work, said so that whoever runs the cluster knows what to do. Called by `follow`.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use kube::core::Status;
use kube::runtime::watcher;

use super::connect::chain;

/// What stays wrong is said again after this long.
const AGAIN: Duration = Duration::from_secs(60);

/// Why a watch doesn't work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Nobody answers, or not with what was asked for: try again soon.
    Unreachable(String),
    /// RBAC, or credentials that aren't accepted.
    Refused(String),
    /// The API server doesn't know the kind.
    NoKind,
    /// The API server doesn't send lists as streams.
    NoStreaming,
    /// What we had seen is too old, or newer than what is there: list again.
    Expired,
}

impl Trouble {
    /// What an error of a watch means.
    pub(super) fn of(error: &watcher::Error) -> Self {
        match error {
            watcher::Error::InitialListFailed(kube::Error::Api(status)) => Self::of_status(status),
            watcher::Error::WatchStartFailed(kube::Error::Api(status)) => Self::of_status(status),
            watcher::Error::WatchFailed(kube::Error::Api(status)) | watcher::Error::WatchError(status) => Self::of_status(status),
            watcher::Error::InitialListFailed(error)
            | watcher::Error::WatchStartFailed(error)
            | watcher::Error::WatchFailed(error) => Self::Unreachable(chain(error)),
            watcher::Error::NoResourceVersion => Self::Expired,
        }
    }

    fn of_status(status: &Status) -> Self {
        let causes = status.details.iter().flat_map(|details| &details.causes);
        let too_new = causes.map(|cause| &cause.reason).any(|reason| reason == "ResourceVersionTooLarge");
        match status.code {
            401 | 403 => Self::Refused(status.message.clone()),
            404 => Self::NoKind,
            400 | 422 => Self::NoStreaming,
            410 => Self::Expired,
            _ if too_new => Self::Expired,
            _ => Self::Unreachable(format!("it answers {} {}", status.code, status.message)),
        }
    }
}

/// What a watch watches, in words.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    /// `ingresses`
    pub(super) resource: String,
    /// `networking.k8s.io`, or nothing.
    pub(super) group: String,
    /// `None`: all namespaces, or a kind without.
    pub(super) namespace: Option<String>,
}

impl Subject {
    /// Says that it is refused, and what to grant.
    pub(super) fn refused(&self, why: &str) {
        let Self { resource, group, .. } = self;
        if self.is_of_gateways() {
            return self.once(why);
        }
        tracing::error!(
            resource,
            "may not read {resource} {}: {why}; grant the verbs list and watch on resource {resource} in API group {group:?} to the service account (with the chart: rbac.create=true)",
            self.place()
        );
    }

    /// Says that there is no such kind.
    pub(super) fn no_kind(&self) {
        let Self { resource, group, .. } = self;
        if self.is_of_gateways() {
            return self.once("its CRD isn't installed");
        }
        tracing::warn!(resource, "the API server has no {resource} in API group {group:?}: none are served until it has");
    }

    /// Whether only the Gateway API needs it, which most clusters don't have, or haven't given us the right to read.
    fn is_of_gateways(&self) -> bool {
        self.group == "gateway.networking.k8s.io" || matches!(&*self.resource, "namespaces" | "gatewayparameters")
    }

    /// Says once in the life of the program that something isn't served.
    fn once(&self, why: &str) {
        static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
        if SAID.lock().unwrap_or_else(PoisonError::into_inner).insert(self.resource.clone()) {
            tracing::info!(resource = self.resource, why, "Gateways are served as far as they can be read; this kind can't");
        }
    }

    fn place(&self) -> String {
        self.namespace.as_ref().map_or("in all namespaces".into(), |namespace| format!("in namespace {namespace}"))
    }
}

/// Lets something be said once, and then every minute.
#[derive(Debug, Default)]
pub(super) struct Pace(Option<Instant>);

impl Pace {
    /// Whether to say it now.
    pub(super) fn due(&mut self) -> bool {
        let due = self.0.is_none_or(|said| said.elapsed() >= AGAIN);
        if due {
            self.0 = Some(Instant::now());
        }
        due
    }

    /// It is over: when it comes again, it is said again.
    pub(super) fn over(&mut self) {
        self.0 = None;
    }
}

/// Whether the API server answers, for all watches together: one message, not one a watch.
#[derive(Debug, Default)]
pub(super) struct Reach(Mutex<Silence>);

#[derive(Debug, Default)]
struct Silence {
    /// Not forgotten when it answers: one that is just starting answers and doesn't, by turns.
    pace: Pace,
    said: bool,
}

impl Reach {
    /// A watch can't reach it.
    pub(super) fn lost(&self, why: &str) {
        let mut silence = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if silence.pace.due() {
            silence.said = true;
            tracing::warn!(
                "the API server can't be read: {why}; what is served stays as it is; check that it runs and that this node reaches it (--apiserver)"
            );
        }
    }

    /// A watch got an answer.
    pub(super) fn found(&self) {
        let mut silence = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut silence.said, false) {
            tracing::info!("the API server answers");
        }
    }
}

/// How long to wait before the next attempt: grows, and differs between nodes, so that they don't come back together.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    /// In a row, of the same kind: refused or not.
    failures: u32,
    refused: bool,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(50);
    /// An API server that is back is heard within this, which is what "converged in 2 s" leaves time for.
    const MOST: Duration = Duration::from_millis(1000);
    /// What stays refused or unknown changes by hand. Not so at once: an API server that has just started refuses all until it
    /// has read its roles.
    const SLOW: Duration = Duration::from_secs(5);

    /// After a failure.
    pub(super) fn next(&mut self, trouble: &Trouble) -> Duration {
        let refused = matches!(trouble, Trouble::Refused(_) | Trouble::NoKind);
        if std::mem::replace(&mut self.refused, refused) != refused {
            self.failures = 0;
        }
        let most = if refused { Self::SLOW } else { Self::MOST };
        let wait = (Self::FIRST * 2_u32.pow(self.failures.min(8))).min(most);
        self.failures = self.failures.saturating_add(1);
        // From three quarters of it to all of it.
        wait * 3 / 4 + wait.mul_f64(fastrand::f64() / 4.0)
    }

    /// After an answer.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn status(code: u16, message: &str) -> watcher::Error {
        watcher::Error::WatchStartFailed(kube::Error::Api(Box::new(Status {
            code,
            message: message.into(),
            ..serde_json::from_str("{}").unwrap()
        })))
    }

    #[test]
    fn an_answer_is_told_from_silence() {
        assert_eq!(Trouble::of(&status(403, "no")), Trouble::Refused("no".into()));
        assert_eq!(Trouble::of(&status(404, "")), Trouble::NoKind);
        assert_eq!(Trouble::of(&status(410, "")), Trouble::Expired);
        assert_eq!(Trouble::of(&status(422, "sendInitialEvents")), Trouble::NoStreaming);
        assert!(matches!(Trouble::of(&status(503, "")), Trouble::Unreachable(_)));
        assert!(matches!(Trouble::of(&status(429, "")), Trouble::Unreachable(_)));
    }

    #[test]
    fn an_api_server_that_lost_its_past_is_listed_again() {
        let text = r#"{"code": 504, "details": {"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large"}]}}"#;
        let error = watcher::Error::WatchStartFailed(kube::Error::Api(serde_json::from_str(text).unwrap()));
        assert_eq!(Trouble::of(&error), Trouble::Expired);
    }

    #[test]
    fn waits_grow_to_a_second() {
        let mut backoff = Backoff::default();
        let away = Trouble::Unreachable(String::new());
        let waits: Vec<Duration> = (0..12).map(|_| backoff.next(&away)).collect();
        assert!(waits[0] <= Backoff::FIRST && waits[0] >= Backoff::FIRST * 3 / 4, "{waits:?}");
        assert!(waits[11] <= Backoff::MOST && waits[11] >= Backoff::MOST * 3 / 4, "{waits:?}");
        backoff.reset();
        assert!(backoff.next(&away) <= Backoff::FIRST);
    }

    #[test]
    fn what_is_refused_right_after_an_outage_is_asked_again_soon() {
        let mut backoff = Backoff::default();
        let away = Trouble::Unreachable(String::new());
        for _ in 0..12 {
            backoff.next(&away);
        }
        let waits: Vec<Duration> = (0..12).map(|_| backoff.next(&Trouble::Refused(String::new()))).collect();
        assert!(waits[..4].iter().sum::<Duration>() < Backoff::MOST, "{waits:?}");
        assert!(waits[11] > Backoff::MOST && waits[11] <= Backoff::SLOW, "{waits:?}");
    }

    #[test]
    fn the_same_is_said_once() {
        let mut pace = Pace::default();
        assert!(pace.due());
        assert!(!pace.due());
        pace.over();
        assert!(pace.due());
    }
}

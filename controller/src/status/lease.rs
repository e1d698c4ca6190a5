//! The election: who writes status. One holder of a Lease at a time, as client-go's leader election does it.
//!
//! Pure: what to do, given the Lease as read and the time of our own clock. `elect` does it. Times in the Lease are never
//! compared with our clock: a holder is dead when its Lease hasn't changed for its duration while we watched it.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;

/// How long a holder is believed after its last renewal.
pub const DURATION: Duration = Duration::from_secs(10);
/// How often the holder renews.
pub const RENEW: Duration = Duration::from_secs(2);
/// How long the holder writes after its last renewal: less than [`DURATION`], so that it has stopped when another begins,
/// even where the clocks run at rates 10 % apart.
pub const DEADLINE: Duration = Duration::from_secs(8);
/// How often others look. A dead holder is replaced after `DURATION + LOOK` at most, and each look is answered from the API
/// server's memory.
pub const LOOK: Duration = Duration::from_secs(3);

/// Where we stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Another holds the Lease, or nobody does yet.
    Candidate,
    /// We hold it, and may write until then.
    Holder(Instant),
}

/// What to do about the Lease.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// Nobody has made it: create this one.
    Create(Lease),
    /// It is free, ours or its holder is dead: replace it by this one, which carries the resourceVersion that was read.
    Replace(Lease),
    /// Another holds it: look again after this time.
    Wait(Duration),
}

/// One candidate's view of the Lease.
pub struct Election {
    identity: String,
    namespace: String,
    name: String,
    standing: Standing,
    /// The version that was seen last, and when it was first seen.
    observed: Option<(String, Instant)>,
}

impl Election {
    /// A candidate called `identity`, for the Lease of this name.
    pub fn new(identity: String, namespace: String, name: String) -> Self {
        Self { identity, namespace, name, standing: Standing::Candidate, observed: None }
    }

    /// Where we stand, which ends by itself.
    pub fn standing(&mut self, now: Instant) -> Standing {
        if matches!(self.standing, Standing::Holder(until) if now >= until) {
            self.standing = Standing::Candidate;
        }
        self.standing
    }

    /// What to do about the Lease as it was read.
    pub fn judge(&mut self, read: Option<&Lease>, now: Instant) -> Act {
        let Some(lease) = read else { return Act::Create(self.ours(None)) };
        let holder = holder(lease);
        if holder.is_empty() || holder == self.identity {
            return Act::Replace(self.ours(Some(lease)));
        }
        self.standing = Standing::Candidate;
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        let since = match &self.observed {
            Some((known, since)) if *known == version => *since,
            _ => self.observed.insert((version, now)).1,
        };
        let seconds = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds).and_then(|s| u64::try_from(s).ok());
        let end = since + seconds.map_or(DURATION, Duration::from_secs);
        if now >= end { Act::Replace(self.ours(Some(lease))) } else { Act::Wait(LOOK.min(end - now)) }
    }

    /// The Lease was written, by a request sent at `sent`.
    pub fn held(&mut self, sent: Instant) -> Instant {
        let until = sent + DEADLINE;
        self.standing = Standing::Holder(until);
        until
    }

    /// The Lease to write at stop, so that another takes it at its next look; `None` where it isn't ours.
    pub fn release(&self, read: &Lease) -> Option<Lease> {
        (holder(read) == self.identity).then(|| {
            let mut lease = read.clone();
            if let Some(spec) = &mut lease.spec {
                spec.holder_identity = None;
                spec.renew_time = Some(MicroTime(Timestamp::now()));
            }
            lease
        })
    }

    /// The Lease as we hold it.
    fn ours(&self, read: Option<&Lease>) -> Lease {
        let spec = read.and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let now = MicroTime(Timestamp::now());
        let already = spec.holder_identity.as_deref() == Some(&self.identity);
        let made = ObjectMeta { namespace: Some(self.namespace.clone()), name: Some(self.name.clone()), ..ObjectMeta::default() };
        let spec = LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: if already { spec.acquire_time } else { Some(now.clone()) },
            renew_time: Some(now),
            lease_transitions: Some(spec.lease_transitions.unwrap_or_default() + i32::from(!already && read.is_some())),
            ..spec
        };
        Lease { metadata: read.map_or(made, |lease| lease.metadata.clone()), spec: Some(spec) }
    }
}

/// Who holds a Lease; empty where nobody does.
pub fn holder(lease: &Lease) -> &str {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn candidate(identity: &str) -> Election {
        Election::new(identity.into(), "ours".into(), "rust-ingress".into())
    }

    /// As the API server stores it: each write is another version.
    fn stored(lease: Lease, version: u32) -> Lease {
        let mut lease = lease;
        lease.metadata.resource_version = Some(version.to_string());
        lease
    }

    /// The Lease that an act writes.
    fn written(act: Act) -> Lease {
        match act {
            Act::Create(lease) | Act::Replace(lease) => lease,
            Act::Wait(wait) => panic!("waits {wait:?}"),
        }
    }

    #[test]
    fn the_first_creates_it_and_renews() {
        let (mut a, start) = (candidate("a"), Instant::now());
        let act = a.judge(None, start);
        assert!(matches!(act, Act::Create(_)));
        let lease = stored(written(act), 1);
        assert_eq!((holder(&lease), a.standing(start)), ("a", Standing::Candidate), "not before it is written");
        a.held(start);
        assert_eq!(a.standing(start + RENEW), Standing::Holder(start + DEADLINE));
        let renewed = written(a.judge(Some(&lease), start + RENEW));
        let (before, after) = (lease.spec.unwrap(), renewed.spec.unwrap());
        assert_eq!((before.acquire_time, before.lease_transitions), (after.acquire_time, after.lease_transitions));
        assert_eq!(renewed.metadata.resource_version.as_deref(), Some("1"), "optimistic");
    }

    #[test]
    fn a_holder_that_cannot_renew_stops_before_another_begins() {
        let (mut a, mut b, start) = (candidate("a"), candidate("b"), Instant::now());
        let lease = stored(written(a.judge(None, start)), 1);
        a.held(start);
        assert_eq!(b.judge(Some(&lease), start), Act::Wait(LOOK));
        assert_eq!(a.standing(start + DEADLINE), Standing::Candidate);
        assert_eq!(b.judge(Some(&lease), start + DEADLINE), Act::Wait(DURATION - DEADLINE));
        let taken = written(b.judge(Some(&lease), start + DURATION));
        assert_eq!((holder(&taken), taken.spec.as_ref().unwrap().lease_transitions), ("b", Some(1)));
    }

    #[test]
    fn a_renewal_seen_late_counts_from_when_it_was_seen() {
        let (mut a, mut b, start) = (candidate("a"), candidate("b"), Instant::now());
        let lease = stored(written(a.judge(None, start)), 1);
        b.judge(Some(&lease), start);
        let renewed = stored(written(a.judge(Some(&lease), start)), 2);
        assert_eq!(b.judge(Some(&renewed), start + DURATION), Act::Wait(LOOK));
        assert!(matches!(b.judge(Some(&renewed), start + DURATION * 2), Act::Replace(_)));
    }

    #[test]
    fn clocks_that_differ_change_nothing() {
        let (mut a, mut b, start) = (candidate("a"), candidate("b"), Instant::now());
        let mut lease = stored(written(a.judge(None, start)), 1);
        for years in [-30, 30] {
            let off = Timestamp::from_second(Timestamp::now().as_second() + years * 31_536_000).unwrap();
            lease.spec.as_mut().unwrap().renew_time = Some(MicroTime(off));
            assert!(matches!(b.judge(Some(&lease), start), Act::Wait(_)));
        }
    }

    #[test]
    fn one_that_another_took_is_lost_at_once() {
        let (mut a, mut b, start) = (candidate("a"), candidate("b"), Instant::now());
        let lease = stored(written(a.judge(None, start)), 1);
        a.held(start);
        b.judge(Some(&lease), start);
        let taken = stored(written(b.judge(Some(&lease), start + DURATION)), 2);
        assert!(matches!(a.judge(Some(&taken), start), Act::Wait(_)));
        assert_eq!(a.standing(start), Standing::Candidate);
    }

    #[test]
    fn a_released_one_is_taken_at_once_and_only_ours_is_released() {
        let (mut a, mut b, start) = (candidate("a"), candidate("b"), Instant::now());
        let lease = stored(written(a.judge(None, start)), 1);
        assert_eq!(b.release(&lease), None);
        let released = stored(a.release(&lease).unwrap(), 2);
        assert_eq!(holder(&written(b.judge(Some(&released), start))), "b");
    }
}

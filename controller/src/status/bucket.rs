//! A token bucket: how many writes a second the API server gets from us.

use std::time::{Duration, Instant};

/// Lets `burst` through at once, then one each `every`.
#[derive(Debug, Clone)]
pub struct Bucket {
    every: Duration,
    burst: u32,
    /// When it would be full again: the tokens taken, as time.
    full: Option<Instant>,
}

impl Bucket {
    /// A full one.
    pub fn new(burst: u32, every: Duration) -> Self {
        Self { every, burst, full: None }
    }

    /// Takes a token, or says when there will be one.
    pub fn take(&mut self, now: Instant) -> Result<(), Instant> {
        let full = self.full.map_or(now, |full| full.max(now));
        let earliest = full + self.every;
        let room = now + self.every * self.burst;
        if earliest > room {
            return Err(now + (earliest - room));
        }
        self.full = Some(earliest);
        Ok(())
    }

    /// Whether nothing is missing: such a bucket is like a new one.
    pub fn is_full(&self, now: Instant) -> bool {
        self.full.is_none_or(|full| full <= now)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_burst_passes_then_one_at_a_time() {
        let (every, start) = (Duration::from_millis(20), Instant::now());
        let mut bucket = Bucket::new(3, every);
        assert_eq!((0..5).filter(|_| bucket.take(start).is_ok()).count(), 3);
        let next = bucket.take(start).unwrap_err();
        assert_eq!(next, start + every);
        assert!(bucket.take(next).is_ok() && bucket.take(next).is_err());
        let rest = start + every * 100;
        assert!(bucket.is_full(rest));
        assert_eq!((0..5).filter(|_| bucket.take(rest).is_ok()).count(), 3);
    }
}

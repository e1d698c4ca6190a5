//! Numbers at random, for balancing and request ids; not for secrets.

use std::cell::Cell;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};

/// A random number of this thread: xorshift64*, seeded by the standard library's random hasher keys.
pub(crate) fn random() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(RandomState::new().build_hasher().finish() | 1);
    }
    STATE.with(|state| {
        let mut word = state.get();
        word ^= word >> 12;
        word ^= word << 25;
        word ^= word >> 27;
        state.set(word);
        word.wrapping_mul(0x2545_f491_4f6c_dd1d)
    })
}

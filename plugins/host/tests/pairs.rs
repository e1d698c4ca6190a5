//! The wire form of pairs: known bytes, round trips, and bytes of hostile guests.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use proptest::collection::vec;
use proptest::prelude::*;
use rust_ingress_plugin_host::pairs::{Limits, Pair, PairsError, decode, encode, encoded_len};

/// `[(":path", "/"), ("a", "")]` as the ABI writes it.
const KNOWN: &[u8] = b"\x02\0\0\0\x05\0\0\0\x01\0\0\0\x01\0\0\0\0\0\0\0:path\0/\0a\0\0";

const PAIRS: &[Pair<'_>] = &[(b":path", b"/"), (b"a", b"")];

#[test]
fn known_bytes_both_ways() {
    assert_eq!(encode(PAIRS).unwrap(), KNOWN);
    assert_eq!(decode(KNOWN, Limits::default()).unwrap(), PAIRS);
}

#[test]
fn empty_lists() {
    assert_eq!(encode(&[]).unwrap(), [0; 4]);
    assert_eq!(decode(&[0; 4], Limits::default()).unwrap(), []);
    assert_eq!(decode(&[], Limits::default()).unwrap(), []);
}

#[test]
fn nul_inside_a_value_is_kept() {
    let pairs: &[Pair<'_>] = &[(b"k\0k", b"\0\0")];
    assert_eq!(decode(&encode(pairs).unwrap(), Limits::default()).unwrap(), pairs);
}

#[test]
fn bytes_after_the_last_pair_are_ignored() {
    let bytes = [KNOWN, b"more"].concat();
    assert_eq!(decode(&bytes, Limits::default()).unwrap(), PAIRS);
}

#[test]
fn every_cut_is_an_error() {
    for length in 1..KNOWN.len() {
        let error = decode(&KNOWN[..length], Limits::default()).unwrap_err();
        assert!(matches!(error, PairsError::Truncated { bytes, .. } if bytes == length), "{length}: {error}");
    }
}

#[test]
fn wrong_lengths_are_found_by_the_terminators() {
    let mut bytes = KNOWN.to_vec();
    bytes[4] = 4;
    assert_eq!(decode(&bytes, Limits::default()), Err(PairsError::NotTerminated { what: "key", index: 0 }));
    let mut bytes = KNOWN.to_vec();
    bytes[8] = 0;
    assert_eq!(decode(&bytes, Limits::default()), Err(PairsError::NotTerminated { what: "value", index: 0 }));
}

#[test]
fn a_count_that_lies_takes_no_memory() {
    let limits = Limits { pairs: usize::MAX, bytes: 1 << 20 };
    let error = decode(b"\xff\xff\xff\xff", limits).unwrap_err();
    assert_eq!(error, PairsError::Truncated { bytes: 4, what: "the lengths" });
}

#[test]
fn limits_hold() {
    let error = decode(KNOWN, Limits { pairs: 1, bytes: 1 << 20 }).unwrap_err();
    assert_eq!(error, PairsError::TooMany { pairs: 2, limit: 1 });
    let limit = KNOWN.len() - 1;
    let error = decode(KNOWN, Limits { pairs: 2, bytes: limit }).unwrap_err();
    assert_eq!(error, PairsError::TooLarge { bytes: KNOWN.len(), limit });
    assert!(decode(KNOWN, Limits { pairs: 2, bytes: KNOWN.len() }).is_ok());
}

proptest! {
    #[test]
    fn what_is_written_is_read(pairs in vec((vec(any::<u8>(), 0..40), vec(any::<u8>(), 0..200)), 0..40)) {
        let pairs: Vec<Pair<'_>> = pairs.iter().map(|(key, value)| (&**key, &**value)).collect();
        let bytes = encode(&pairs).unwrap();
        prop_assert_eq!(bytes.len(), encoded_len(&pairs));
        prop_assert_eq!(decode(&bytes, Limits::default()).unwrap(), pairs);
    }

    #[test]
    fn any_bytes_are_pairs_or_an_error(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(pairs) = decode(&bytes, Limits::default()) {
            let again = encode(&pairs).unwrap();
            prop_assert!(bytes.is_empty() || bytes.starts_with(&again));
        }
    }

    #[test]
    fn one_flipped_byte_never_panics(at in 0..KNOWN.len(), to in any::<u8>()) {
        let mut bytes = KNOWN.to_vec();
        bytes[at] = to;
        if let Ok(pairs) = decode(&bytes, Limits::default()) {
            prop_assert!(encoded_len(&pairs) <= bytes.len());
        }
    }
}

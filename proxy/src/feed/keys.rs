//! Keys as bytes: on the feed, and in the file of the last good state. Never as text, and every buffer is zeroed.
//!
//! A pair is its fingerprint (64 hexadecimal digits), the number of certificates, each certificate, and the key; numbers
//! and lengths are 32 bits, big endian. The fingerprint is written down because one of them is no digest of its chain
//! ([`Fingerprint::SELF_MADE`]).

use std::sync::Arc;

use rust_ingress_model::{Fingerprint, KeyPair};
use zeroize::Zeroizing;

const FINGERPRINT: usize = 64;
const NUMBER: usize = 4;

/// Pairs as bytes.
///
/// # Errors
/// A certificate or key of 4 GiB or more.
pub fn encode<'a, I>(pairs: I) -> Result<Zeroizing<Vec<u8>>, &'static str>
where
    I: IntoIterator<Item = (Fingerprint, &'a Arc<KeyPair>)> + Clone,
{
    let size =
        |pair: &KeyPair| FINGERPRINT + 2 * NUMBER + pair.key.len() + pair.chain.iter().map(|c| NUMBER + c.len()).sum::<usize>();
    // To the byte: a vector that grows leaves copies of keys behind.
    let mut out = Zeroizing::new(Vec::with_capacity(pairs.clone().into_iter().map(|(_, pair)| size(pair)).sum()));
    for (fingerprint, pair) in pairs {
        out.extend_from_slice(fingerprint.to_string().as_bytes());
        number(&mut out, pair.chain.len())?;
        for certificate in &pair.chain {
            number(&mut out, certificate.len())?;
            out.extend_from_slice(certificate);
        }
        number(&mut out, pair.key.len())?;
        out.extend_from_slice(&pair.key);
    }
    Ok(out)
}

fn number(out: &mut Vec<u8>, number: usize) -> Result<(), &'static str> {
    let number = u32::try_from(number).map_err(|_| "a certificate or key is too large")?;
    out.extend_from_slice(&number.to_be_bytes());
    Ok(())
}

/// Pairs from bytes.
///
/// # Errors
/// Bytes that [`encode`] doesn't write.
pub fn decode(bytes: &[u8]) -> Result<Vec<(Fingerprint, Arc<KeyPair>)>, &'static str> {
    let mut rest = Rest(bytes);
    let mut pairs = Vec::new();
    while !rest.0.is_empty() {
        let fingerprint = std::str::from_utf8(rest.take(FINGERPRINT)?).map_err(|_| BAD)?.parse().map_err(|_| BAD)?;
        let certificates = rest.number()?;
        let mut chain = Vec::new();
        for _ in 0..certificates {
            let length = rest.number()?;
            chain.push(rest.take(length)?.to_vec());
        }
        let length = rest.number()?;
        let key = Zeroizing::new(rest.take(length)?.to_vec());
        pairs.push((fingerprint, Arc::new(KeyPair { chain, key })));
    }
    Ok(pairs)
}

const BAD: &str = "keys can't be read";

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], &'static str> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(BAD)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<usize, &'static str> {
        let bytes = self.take(NUMBER)?.try_into().map_err(|_| BAD)?;
        usize::try_from(u32::from_be_bytes(bytes)).map_err(|_| BAD)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let one = Arc::new(KeyPair { chain: vec![vec![1, 2, 3], vec![]], key: Zeroizing::new(vec![9; 100]) });
        let two = Arc::new(KeyPair { chain: vec![vec![7]], key: Zeroizing::new(vec![]) });
        let bytes = encode([(one.fingerprint(), &one), (Fingerprint::SELF_MADE, &two)]).unwrap();
        let read = decode(&bytes).unwrap();
        assert_eq!(read.iter().map(|(name, _)| *name).collect::<Vec<_>>(), [one.fingerprint(), Fingerprint::SELF_MADE]);
        assert_eq!((&read[0].1.chain, &read[0].1.key), (&one.chain, &one.key));
        assert_eq!((&read[1].1.chain, &read[1].1.key), (&two.chain, &two.key));
    }

    #[test]
    fn cut_bytes_are_refused() {
        let pair = Arc::new(KeyPair { chain: vec![vec![1, 2, 3]], key: Zeroizing::new(vec![9; 10]) });
        let bytes = encode([(pair.fingerprint(), &pair)]).unwrap();
        for length in 1..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "{length}");
        }
        assert_eq!(decode(&[]).unwrap().len(), 0);
    }
}

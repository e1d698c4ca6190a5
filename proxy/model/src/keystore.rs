//! Keys are not data: certificates with their private keys, by fingerprint, apart from the snapshot.
//!
//! No `Debug`, no `Serialize`; key bytes are zeroed when the last holder drops them.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;
use zeroize::Zeroizing;

use crate::digest::Digest;

/// SHA-256 over a certificate chain, each certificate in DER; 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(Digest);

impl Fingerprint {
    /// Stands for the certificate that each process makes for itself at its start. It has a name of its own because a
    /// snapshot is the same on every node, and this certificate is not.
    pub const SELF_MADE: Self = Self(Digest([0; 32]));

    /// The fingerprint of a chain.
    pub fn of_chain<C: AsRef<[u8]>>(chain: &[C]) -> Self {
        let mut sha = sha2::Sha256::new();
        for certificate in chain {
            sha.update(certificate.as_ref());
        }
        Self(Digest(sha.finalize().into()))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const BAD: &str = "a fingerprint has 64 hexadecimal digits";
        if text.len() != 64 || !text.is_ascii() {
            return Err(BAD);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| BAD)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| BAD)?;
        }
        Ok(Self(Digest(bytes)))
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> String {
        fingerprint.to_string()
    }
}

/// A certificate chain and its private key, both DER.
pub struct KeyPair {
    /// Leaf first.
    pub chain: Vec<Vec<u8>>,
    /// PKCS#8, PKCS#1 or SEC1.
    pub key: Zeroizing<Vec<u8>>,
}

impl KeyPair {
    /// What a snapshot calls this certificate.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_chain(&self.chain)
    }
}

/// The keys that a snapshot's fingerprints stand for.
#[derive(Clone, Default)]
pub struct KeyStore {
    pairs: HashMap<Fingerprint, Arc<KeyPair>>,
}

impl KeyStore {
    /// Adds a pair under its fingerprint.
    pub fn insert(&mut self, pair: Arc<KeyPair>) {
        self.pairs.insert(pair.fingerprint(), pair);
    }

    /// Adds a pair whose fingerprint is known already.
    pub fn insert_as(&mut self, fingerprint: Fingerprint, pair: Arc<KeyPair>) {
        self.pairs.insert(fingerprint, pair);
    }

    /// The pair of a fingerprint.
    pub fn get(&self, fingerprint: &Fingerprint) -> Option<&Arc<KeyPair>> {
        self.pairs.get(fingerprint)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }
}

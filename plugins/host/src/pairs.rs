//! The wire form of header maps and other lists of pairs (proxy-wasm ABI 0.2.1, "Serialization").
//!
//! A 32-bit count; for each pair the 32-bit lengths of key and value; for each pair key, NUL, value, NUL. All integers are
//! little endian, lengths don't count the NUL. The host encodes what guests read (`proxy_get_header_map_pairs`) and decodes what
//! they write (`proxy_set_header_map_pairs`, local responses, calls): bytes of a guest are hostile until decoded.

/// Bytes of the count and of each length.
const WORD: usize = 4;

/// What a decoder accepts from a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Pairs.
    pub pairs: usize,
    /// Bytes of the whole serialized list.
    pub bytes: usize,
}

impl Default for Limits {
    /// 1,000 pairs in 1 MiB: more than any header map that the proxy lets in.
    fn default() -> Self {
        Self { pairs: 1000, bytes: 1 << 20 }
    }
}

/// Why bytes are not a list of pairs, or a list can't be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PairsError {
    /// The guest's list is too large.
    #[error("{bytes} bytes of pairs; at most {limit} are accepted")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The guest's list has too many pairs.
    #[error("{pairs} pairs; at most {limit} are accepted")]
    TooMany {
        /// Their number.
        pairs: usize,
        /// The limit.
        limit: usize,
    },
    /// The bytes end before the counts and lengths are satisfied.
    #[error("the pairs end after {bytes} bytes, inside {what}")]
    Truncated {
        /// How many bytes there are.
        bytes: usize,
        /// What the end cuts through.
        what: &'static str,
    },
    /// No NUL stands after a key or value.
    #[error("the {what} of pair {index} is not followed by a NUL; are the lengths right?")]
    NotTerminated {
        /// `key` or `value`.
        what: &'static str,
        /// Which pair, from 0.
        index: usize,
    },
    /// A count or length needs more than 32 bits.
    #[error("a count or length of {0} does not fit 32 bits")]
    Overflow(usize),
}

/// A key and its value.
pub type Pair<'a> = (&'a [u8], &'a [u8]);

/// The size of an encoded list, for the guest's allocator.
pub fn encoded_len(pairs: &[Pair<'_>]) -> usize {
    let each = pairs.iter().map(|(key, value)| 2 * WORD + key.len() + 1 + value.len() + 1);
    WORD + each.sum::<usize>()
}

/// Writes a list.
///
/// # Errors
/// [`PairsError::Overflow`].
pub fn encode(pairs: &[Pair<'_>]) -> Result<Vec<u8>, PairsError> {
    let mut out = Vec::with_capacity(encoded_len(pairs));
    out.extend(word(pairs.len())?);
    for (key, value) in pairs {
        out.extend(word(key.len())?);
        out.extend(word(value.len())?);
    }
    for (key, value) in pairs {
        out.extend_from_slice(key);
        out.push(0);
        out.extend_from_slice(value);
        out.push(0);
    }
    Ok(out)
}

fn word(value: usize) -> Result<[u8; WORD], PairsError> {
    u32::try_from(value).map(u32::to_le_bytes).map_err(|_| PairsError::Overflow(value))
}

/// Reads a list that a guest wrote. No bytes at all are an empty list (a guest's null pointer); bytes after the last pair
/// are ignored, as Envoy ignores them. Memory taken is proportional to the bytes given, whatever the count says.
///
/// # Errors
/// Everything but [`PairsError::Overflow`].
pub fn decode(bytes: &[u8], limits: Limits) -> Result<Vec<Pair<'_>>, PairsError> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    if bytes.len() > limits.bytes {
        return Err(PairsError::TooLarge { bytes: bytes.len(), limit: limits.bytes });
    }
    let mut lengths = Reader { rest: bytes, all: bytes.len() };
    let count = lengths.word("the count")?;
    if count > limits.pairs {
        return Err(PairsError::TooMany { pairs: count, limit: limits.pairs });
    }
    let mut data = Reader { rest: lengths.rest, all: bytes.len() };
    data.take(count.saturating_mul(2 * WORD), "the lengths")?;
    let mut pairs = Vec::with_capacity(count);
    for index in 0..count {
        let (key, value) = (lengths.word("the lengths")?, lengths.word("the lengths")?);
        pairs.push((data.terminated(key, "key", index)?, data.terminated(value, "value", index)?));
    }
    Ok(pairs)
}

/// Bytes that are yet to be read.
struct Reader<'a> {
    rest: &'a [u8],
    /// How many there were, for messages.
    all: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize, what: &'static str) -> Result<&'a [u8], PairsError> {
        let truncated = PairsError::Truncated { bytes: self.all, what };
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn word(&mut self, what: &'static str) -> Result<usize, PairsError> {
        let truncated = PairsError::Truncated { bytes: self.all, what };
        let (word, rest) = self.rest.split_first_chunk::<WORD>().ok_or(truncated)?;
        self.rest = rest;
        usize::try_from(u32::from_le_bytes(*word)).map_err(|_| truncated)
    }

    fn terminated(&mut self, length: usize, what: &'static str, index: usize) -> Result<&'a [u8], PairsError> {
        let text = self.take(length, what)?;
        match self.take(1, what)? {
            [0] => Ok(text),
            _ => Err(PairsError::NotTerminated { what, index }),
        }
    }
}

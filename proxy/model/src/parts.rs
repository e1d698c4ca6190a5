//! A map of shared parts: copying one costs a pointer per chunk, changing a copy costs the chunk that the change is in.
//!
//! A snapshot of 10,000 hosts differs from the one before in one of them, and is copied, compared, and named by its digest each
//! time; a `BTreeMap` would cost 10,000 steps for each. Chunks end where the hash of a key says so (about every
//! [`CHUNK`] entries), never where history put them: equal maps have equal chunks on every node, so that chunks can be
//! compared by pointer first, and the digest of a map is that of its chunks.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::{Digest, Part};

/// Entries of a chunk on average. A change copies one chunk (about 10 ns an entry) and the list of chunks (about 5 ns each).
const CHUNK: u64 = 64;

/// A map in order of keys, whose values are [`Part`]s.
pub struct PartMap<K, V> {
    /// None is empty; each but the last ends with a key that ends a chunk, and none has such a key before its last.
    chunks: Vec<Arc<Chunk<K, V>>>,
    len: usize,
}

struct Chunk<K, V> {
    entries: Vec<(K, Part<V>)>,
    digest: OnceLock<Digest>,
}

impl<K, V> Chunk<K, V> {
    fn new(entries: Vec<(K, Part<V>)>) -> Arc<Self> {
        Arc::new(Self { entries, digest: OnceLock::new() })
    }

    fn last(&self) -> Option<&K> {
        self.entries.last().map(|(key, _)| key)
    }
}

impl<K: Clone, V> Clone for Chunk<K, V> {
    /// For a change: the copy has a digest of its own to come.
    fn clone(&self) -> Self {
        Self { entries: self.entries.clone(), digest: OnceLock::new() }
    }
}

impl<K, V> PartMap<K, V> {
    /// An empty map.
    pub const fn new() -> Self {
        Self { chunks: Vec::new(), len: 0 }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The entries, in order of keys.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &Part<V>)> {
        self.chunks.iter().flat_map(|chunk| chunk.entries.iter().map(|(key, part)| (key, part)))
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// The parts, in order of keys.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &Part<V>> {
        self.iter().map(|(_, part)| part)
    }
}

impl<K: Ord, V> PartMap<K, V> {
    /// The part of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&Part<V>>
    where
        K: Borrow<Q>,
    {
        let chunk = self.chunks.get(self.place(key))?;
        let at = chunk.entries.binary_search_by(|(other, _)| other.borrow().cmp(key)).ok()?;
        chunk.entries.get(at).map(|(_, part)| part)
    }

    /// Whether there is such a key.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// The entries of chunks that `other` doesn't share: all that differs, and some around it that doesn't.
    pub fn near_changes<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (&'a K, &'a Part<V>)> {
        // Where the next chunk stands in the other, if nothing came or went before it: found without comparing keys.
        let mut expected = 0;
        let differs = move |chunk: &&Arc<Chunk<K, V>>| {
            let is_at = |place: usize| other.chunks.get(place).is_some_and(|theirs| Arc::ptr_eq(theirs, chunk));
            if !is_at(expected) {
                expected = chunk.last().map_or(0, |last| other.place(last));
            }
            let shared = is_at(expected);
            expected += 1;
            !shared
        };
        self.chunks.iter().filter(differs).flat_map(|chunk| chunk.entries.iter().map(|(key, part)| (key, part)))
    }

    /// The chunk that a key is in, or would be if it is in none after the last.
    fn place<Q: Ord + ?Sized>(&self, key: &Q) -> usize
    where
        K: Borrow<Q>,
    {
        self.chunks.partition_point(|chunk| chunk.last().is_some_and(|last| last.borrow() < key))
    }
}

impl<K: Ord + Hash + Clone, V> PartMap<K, V> {
    /// Puts a part under a key; gives the one that it replaces.
    pub fn insert(&mut self, key: K, part: Part<V>) -> Option<Part<V>> {
        let mut place = self.place(&key);
        if place == self.chunks.len() {
            // After all others: into the last chunk, unless that is complete.
            match self.chunks.last().and_then(|chunk| chunk.last()) {
                Some(last) if !ends_chunk(last) => place -= 1,
                _ => self.chunks.push(Chunk::new(Vec::new())),
            }
        }
        let chunk = Arc::make_mut(self.chunks.get_mut(place)?);
        chunk.digest = OnceLock::new();
        match chunk.entries.binary_search_by(|(other, _)| other.cmp(&key)) {
            Ok(at) => chunk.entries.get_mut(at).map(|(_, old)| std::mem::replace(old, part)),
            Err(at) => {
                let ends = ends_chunk(&key) && at < chunk.entries.len();
                let rest = if ends { chunk.entries.split_off(at) } else { Vec::new() };
                chunk.entries.insert(at, (key, part));
                if ends {
                    self.chunks.insert(place + 1, Chunk::new(rest));
                }
                self.len += 1;
                None
            }
        }
    }

    /// Takes a key out; gives its part.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<Part<V>>
    where
        K: Borrow<Q>,
    {
        let place = self.place(key);
        let entries = &self.chunks.get(place)?.entries;
        let at = entries.binary_search_by(|(other, _)| other.borrow().cmp(key)).ok()?;
        let (alone, last) = (entries.len() == 1, at + 1 == entries.len());
        self.len -= 1;
        if alone {
            return self.chunks.remove(place).entries.first().map(|(_, part)| part.clone());
        }
        let next = (last && place + 1 < self.chunks.len()).then(|| self.chunks.remove(place + 1));
        let chunk = Arc::make_mut(self.chunks.get_mut(place)?);
        chunk.digest = OnceLock::new();
        let (_, part) = chunk.entries.remove(at);
        // What ended the chunk is gone: it goes on with the next.
        chunk.entries.extend(next.iter().flat_map(|next| next.entries.iter().cloned()));
        Some(part)
    }
}

/// Whether a chunk ends after this key. FNV-1a: the same on every node, and good enough to spread.
fn ends_chunk<K: Hash>(key: &K) -> bool {
    struct Fnv(u64);
    impl Hasher for Fnv {
        fn write(&mut self, bytes: &[u8]) {
            for byte in bytes {
                self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        fn finish(&self) -> u64 {
            self.0
        }
    }
    let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
    key.hash(&mut hasher);
    let hash = hasher.finish();
    (hash ^ (hash >> 29)).is_multiple_of(CHUNK)
}

impl<K, V> Default for PartMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> Clone for PartMap<K, V> {
    fn clone(&self) -> Self {
        Self { chunks: self.chunks.clone(), len: self.len }
    }
}

impl<K: PartialEq, V> PartialEq for PartMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        let mut chunks = self.chunks.iter().zip(&other.chunks);
        let alike = self.len == other.len && self.chunks.len() == other.chunks.len();
        alike && chunks.all(|(one, other)| Arc::ptr_eq(one, other) || one.entries == other.entries)
    }
}

impl<K: Eq, V> Eq for PartMap<K, V> {}

/// The digest of a chunk is computed once and kept with it.
impl<K: Hash, V> Hash for PartMap<K, V> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.len.hash(state);
        for chunk in &self.chunks {
            chunk.digest.get_or_init(|| Digest::of(&chunk.entries)).hash(state);
        }
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for PartMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Ord + Hash + Clone, V> Extend<(K, Part<V>)> for PartMap<K, V> {
    fn extend<I: IntoIterator<Item = (K, Part<V>)>>(&mut self, entries: I) {
        for (key, part) in entries {
            self.insert(key, part);
        }
    }
}

impl<K: Ord + Hash + Clone, V> FromIterator<(K, Part<V>)> for PartMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, Part<V>)>>(entries: I) -> Self {
        let mut map = Self::new();
        map.extend(entries);
        map
    }
}

impl<K: Ord + Hash + Clone, V, const N: usize> From<[(K, Part<V>); N]> for PartMap<K, V> {
    fn from(entries: [(K, Part<V>); N]) -> Self {
        entries.into_iter().collect()
    }
}

impl<K: Serialize, V: Serialize> Serialize for PartMap<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de, K, V> Deserialize<'de> for PartMap<K, V>
where
    K: Deserialize<'de> + Ord + Hash + Clone,
    V: Deserialize<'de> + Hash,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::collections::BTreeMap::<K, Part<V>>::deserialize(deserializer).map(|map| map.into_iter().collect())
    }
}

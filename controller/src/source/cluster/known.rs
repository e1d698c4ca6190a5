//! Which objects a watch has told the World of: what a new list no longer holds was deleted meanwhile.

use std::collections::HashMap;

/// Namespace and name, in one allocation: a Kubernetes name holds no `/`.
type Key = Box<str>;

/// The objects that a watch knows to be there.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// With the list that last held it.
    objects: HashMap<Key, u32>,
    list: u32,
}

impl Known {
    /// A list begins.
    pub(super) fn begin(&mut self) {
        self.list = self.list.wrapping_add(1);
    }

    /// An object is there.
    pub(super) fn insert(&mut self, namespace: &str, name: &str) {
        self.objects.insert(key(namespace, name), self.list);
    }

    /// An object is gone. Whether it was known.
    pub(super) fn remove(&mut self, namespace: &str, name: &str) -> bool {
        self.objects.remove(&key(namespace, name)).is_some()
    }

    /// The list is complete: gives, by namespace and name, what it didn't hold, and forgets it.
    pub(super) fn end(&mut self) -> Vec<(String, String)> {
        let list = self.list;
        let gone: Vec<Key> = self.objects.extract_if(|_, seen| *seen != list).map(|(key, _)| key).collect();
        gone.iter().filter_map(|key| key.split_once('/')).map(|(space, name)| (space.to_owned(), name.to_owned())).collect()
    }

    /// Whether nothing is known.
    pub(super) fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// The names of all that is known.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.objects.keys().filter_map(|key| key.split_once('/')).map(|(_, name)| name)
    }
}

fn key(namespace: &str, name: &str) -> Key {
    format!("{namespace}/{name}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_new_list_lacks_is_gone() {
        let mut known = Known::default();
        known.begin();
        known.insert("a", "one");
        known.insert("a", "two");
        known.insert("", "class");
        assert!(known.end().is_empty());
        known.insert("a", "three");
        known.begin();
        known.insert("a", "two");
        // A list that breaks off begins again: what only the broken one held is gone as well.
        known.begin();
        known.insert("a", "three");
        let mut gone = known.end();
        gone.sort();
        let pair = |space: &str, name: &str| (space.to_owned(), name.to_owned());
        assert_eq!(gone, [pair("", "class"), pair("a", "one"), pair("a", "two")]);
        assert_eq!(known.names().collect::<Vec<_>>(), ["three"]);
        assert!(known.remove("a", "three") && !known.remove("a", "three") && known.is_empty());
    }
}

//! The map of shared parts against a `BTreeMap`: whatever was done to it, it holds the same, and equal maps are equal in
//! chunks and digest, whichever way they came about.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use rust_ingress_model::{Digest, Part, PartMap};

#[derive(Debug, Clone)]
enum Step {
    Insert(u16, u8),
    Remove(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0_u16..600, any::<u8>()).prop_map(|(key, value)| Step::Insert(key, value)),
        2 => (0_u16..600).prop_map(Step::Remove),
    ];
    prop::collection::vec(step, 0..800)
}

fn apply(map: &mut PartMap<u16, u8>, model: &mut BTreeMap<u16, u8>, step: &Step) {
    match *step {
        Step::Insert(key, value) => {
            let old = map.insert(key, Part::new(value));
            assert_eq!(old.map(|part| *part), model.insert(key, value));
        }
        Step::Remove(key) => assert_eq!(map.remove(&key).map(|part| *part), model.remove(&key)),
    }
}

fn of(model: &BTreeMap<u16, u8>) -> PartMap<u16, u8> {
    // In an order of its own: history must not show.
    model.iter().rev().map(|(key, value)| (*key, Part::new(*value))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn it_holds_what_a_tree_holds(steps in steps()) {
        let (mut map, mut model) = (PartMap::new(), BTreeMap::new());
        for step in &steps {
            apply(&mut map, &mut model, step);
        }
        prop_assert_eq!(map.len(), model.len());
        let held: Vec<(u16, u8)> = map.iter().map(|(key, part)| (*key, **part)).collect();
        let wanted: Vec<(u16, u8)> = model.iter().map(|(key, value)| (*key, *value)).collect();
        prop_assert_eq!(held, wanted);
        for key in 0..600 {
            prop_assert_eq!(map.get(&key).map(|part| **part), model.get(&key).copied());
        }
    }

    #[test]
    fn history_does_not_show(steps in steps()) {
        let (mut map, mut model) = (PartMap::new(), BTreeMap::new());
        for step in &steps {
            apply(&mut map, &mut model, step);
        }
        let anew = of(&model);
        prop_assert!(map == anew, "chunks differ");
        prop_assert_eq!(Digest::of(&map), Digest::of(&anew));
    }

    #[test]
    fn what_differs_is_near_a_change(before in steps(), after in steps()) {
        let (mut map, mut model) = (PartMap::new(), BTreeMap::new());
        for step in &before {
            apply(&mut map, &mut model, step);
        }
        let (old, old_model) = (map.clone(), model.clone());
        for step in after.iter().take(5) {
            apply(&mut map, &mut model, step);
        }
        prop_assert!(old == of(&old_model), "a copy changed with its original");
        let near: BTreeMap<u16, u8> = map.near_changes(&old).map(|(key, part)| (*key, **part)).collect();
        let was: BTreeMap<u16, u8> = old.near_changes(&map).map(|(key, part)| (*key, **part)).collect();
        for key in 0..600 {
            if model.get(&key) != old_model.get(&key) {
                prop_assert_eq!(near.get(&key), model.get(&key));
                prop_assert_eq!(was.get(&key), old_model.get(&key));
            }
        }
    }
}

#[test]
fn equal_content_is_equal_and_other_content_is_not() {
    let map: PartMap<u16, u8> = (0..1000).map(|key| (key, Part::new(1))).collect();
    let mut other = map.clone();
    assert_eq!(Digest::of(&map), Digest::of(&other));
    other.insert(500, Part::new(2));
    assert!(map != other && Digest::of(&map) != Digest::of(&other));
    other.insert(500, Part::new(1));
    assert!(map == other && Digest::of(&map) == Digest::of(&other));
    let text = serde_json::to_string(&map).unwrap();
    assert!(serde_json::from_str::<PartMap<u16, u8>>(&text).unwrap() == map);
    assert!(map.near_changes(&map).next().is_none());
    assert!(map.near_changes(&PartMap::new()).count() == 1000);
}

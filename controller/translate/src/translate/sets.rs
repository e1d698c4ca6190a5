//! What is said of ListenerSets: their status, and the faults that a folder's user sees.

use std::collections::BTreeSet;

use rust_ingress_model::status::{Condition, ObjectStatus};
use rust_ingress_model::{Fault, ObjectRef, Report, ReportKey, StatusPlan};

use super::Work;
use super::gateway_status::told;
use crate::dirty::Dirty;
use crate::faults::Faults;
use crate::gateway::layout::{Layout, Placed, Why, key_of};
use crate::gateway::set::{KIND, ListenerSet};
use crate::gateway::{is, isnt};
use crate::settings::Origin;
use crate::world::Key;

/// Whether a Gateway serves at least one listener of a set.
pub(super) fn taken(placed: &Placed<'_>, set: &ListenerSet) -> bool {
    placed.listeners.iter().any(|state| *state.owner == set.reference && state.served())
}

impl Work<'_> {
    /// The sets that are dirty, themselves or with their Gateway.
    fn dirty_sets(&self, layout: &Layout<'_>, dirty: &Dirty) -> BTreeSet<Key> {
        let all = layout.gateways.keys().copied().filter(|_| dirty.layout).chain(&dirty.gateways);
        let of_gateways = all.flat_map(|gateway| self.world.gateways.gateway_sets.get(gateway));
        of_gateways.chain(&dirty.sets).cloned().collect()
    }

    /// Plans the status of sets that are dirty.
    pub(super) fn set_status(&self, layout: &Layout<'_>, dirty: &Dirty, plan: &mut StatusPlan) {
        for key in self.dirty_sets(layout, dirty) {
            let set = self.world.gateways.sets.get(&key);
            let status = set.and_then(|set| Some(self.of_set(layout, set, layout.gateways.get(set.gateway.as_ref()?)?)));
            plan.objects.insert(ObjectRef::new(KIND, &key.0, &key.1), status);
        }
    }

    fn of_set(&self, layout: &Layout<'_>, set: &ListenerSet, placed: &Placed<'_>) -> ObjectStatus {
        let listeners = self.of_listeners(layout, placed, &set.reference);
        let served = placed.listeners.iter().filter(|state| *state.owner == set.reference && state.served()).count();
        let accepted = match self.set_refusal(set, placed) {
            Some((reason, message)) => isnt("Accepted", reason, message),
            None if served < set.listeners.len() => {
                is("Accepted", "ListenersNotValid", "some of the listeners can't be served; see their conditions")
            }
            None => is("Accepted", "Accepted", "all listeners are accepted"),
        };
        let programmed = match (&accepted, self.reached(&key_of(placed.gateway), placed)) {
            (Condition { status: false, reason, message, .. }, _) => isnt("Programmed", reason, message),
            (_, Err((_, message))) => isnt("Programmed", "ParentNotProgrammed", message),
            (_, Ok(_)) => is("Programmed", "Programmed", "the listeners take traffic"),
        };
        ObjectStatus { generation: set.generation, conditions: vec![accepted, programmed], listeners, ..ObjectStatus::default() }
    }

    fn set_refusal(&self, set: &ListenerSet, placed: &Placed<'_>) -> Option<Why> {
        let gateway = &placed.gateway.reference;
        let allowed = self.world.sets_of(placed.gateway).into_iter().any(|other| other.reference == set.reference);
        match (allowed, &placed.refused) {
            (false, _) => Some(("NotAllowed", format!("allowedListeners of {gateway} don't have this namespace; ask its owner"))),
            (true, Some(_)) => Some(("ParentNotAccepted", format!("{gateway} isn't accepted; see its conditions"))),
            (true, None) if !taken(placed, set) => {
                Some(("ListenersNotValid", "none of the listeners can be served; see their conditions".into()))
            }
            (true, None) => None,
        }
    }

    /// What is said of sets that are dirty.
    pub(super) fn set_reports(&mut self, layout: &Layout<'_>, dirty: &Dirty) {
        for key in self.dirty_sets(layout, dirty) {
            let faults = self.world.gateways.sets.get(&key).map(|set| self.set_faults(layout, set)).unwrap_or_default();
            let object = ObjectRef::new(KIND, &key.0, &key.1);
            self.report(ReportKey::Object(object), Report { faults, verdicts: Vec::new() });
        }
    }

    fn set_faults(&self, layout: &Layout<'_>, set: &ListenerSet) -> Vec<Fault> {
        let mut faults = Faults::of(set.reference.clone());
        let Some(placed) = set.gateway.as_ref().and_then(|gateway| layout.gateways.get(gateway)) else {
            if self.settings.origin == Origin::Files {
                let message = "no Gateway that is served here is its parent; write one, or correct parentRef".to_owned();
                told(&mut faults, "spec.parentRef".into(), &("NoMatchingParent", message));
            }
            return faults.into_list();
        };
        if let Some(why) = self.set_refusal(set, placed).filter(|(reason, _)| *reason != "ListenersNotValid") {
            told(&mut faults, "spec.parentRef".into(), &why);
        }
        let own = placed.listeners.iter().filter(|state| *state.owner == set.reference);
        for (index, state) in own.enumerate() {
            let wrong = state.accepted.as_ref().err().into_iter().chain(&state.conflict).chain(&state.unresolved);
            wrong.for_each(|why| told(&mut faults, format!("spec.listeners[{index}]"), why));
        }
        [set.faults.clone(), faults.into_list()].concat()
    }
}

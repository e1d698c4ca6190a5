//! Secrets, and what holds authorities, one by one: a watch for each that something of ours names, none for the others.
//!
//! The driver says which are wanted. Where one namespace has very many, one watch of its TLS Secrets stands in for the single
//! ones, and what that doesn't hold is watched by itself again. Runs as one task of the cluster source.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use kube::runtime::watcher;
use kube::{Api, Client};
use rust_ingress_model::{Name, ObjectRef};
use rust_ingress_translate::Change;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use super::door::{AtDoor, DoorConfigMap, DoorSecret, DoorTrustBundle};
use super::follow::{Context, Follow, Heard, Only};
use super::trouble::Subject;
use crate::driver::{Message, Wanted};

/// The kind of what holds keys.
const SECRET: &str = "Secret";
/// More single watches than this in a namespace become one of all its TLS Secrets.
const MOST_SINGLE: usize = 200;
/// Fewer wanted Secrets than this go back to single watches.
const BACK_TO_SINGLE: usize = 150;

/// What one of our watches had to say.
struct Answer {
    place: Place,
    /// `None`: the watch of the whole namespace.
    name: Option<Name>,
    heard: Heard,
}

/// Kind and namespace.
type Place = (Name, Name);

/// All wanted objects.
pub(super) struct Secrets {
    context: Context,
    client: Client,
    spaces: BTreeMap<Place, Space>,
    told: mpsc::UnboundedSender<Answer>,
    answers: mpsc::UnboundedReceiver<Answer>,
    /// The turn of what is wanted that the driver knows to be answered.
    said: u64,
}

/// The wanted objects of a kind in a namespace.
#[derive(Default)]
struct Space {
    wanted: BTreeSet<Name>,
    /// Those whose state the World has been told, or that they may not be read.
    answered: HashSet<Name>,
    single: HashMap<Name, Task>,
    many: Option<Many>,
    /// The watch of the whole namespace is refused, or there can't be one.
    refused: bool,
}

/// A watch of the TLS Secrets of a namespace.
struct Many {
    /// What it takes: all that was wanted when it began; once it has listed, what it found.
    takes: Only,
    _task: Task,
}

/// A watch that ends when nobody holds this.
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Secrets {
    pub(super) fn new(client: Client, context: Context) -> Self {
        let (told, answers) = mpsc::unbounded_channel();
        Self { context, client, spaces: BTreeMap::new(), told, answers, said: 0 }
    }

    /// Follows what is wanted until the driver is gone.
    pub(super) async fn run(mut self, mut wanted: watch::Receiver<Wanted>) {
        loop {
            let now = wanted.borrow_and_update().clone();
            self.update(&now);
            if self.said < now.turn && now.complete && self.spaces.values().all(Space::is_answered) {
                self.said = now.turn;
                if self.context.driver.send(Message::Answered(now.turn)).is_err() {
                    return;
                }
            }
            tokio::select! {
                changed = wanted.changed() => if changed.is_err() { return },
                Some(answer) = self.answers.recv() => self.answer(answer),
            }
        }
    }

    fn update(&mut self, wanted: &Wanted) {
        let mut by_space: BTreeMap<Place, BTreeSet<Name>> = BTreeMap::new();
        for object in &wanted.objects {
            let place = (object.kind.clone(), object.namespace.clone());
            by_space.entry(place).or_default().insert(object.name.clone());
        }
        for place in by_space.keys() {
            // Only Secrets have a type by which the others of a namespace can be left out.
            let begin = || Space { refused: &*place.0 != SECRET, ..Space::default() };
            self.spaces.entry(place.clone()).or_insert_with(begin);
        }
        let mut spaces = std::mem::take(&mut self.spaces);
        for (place, space) in &mut spaces {
            let gone = space.want(by_space.remove(place).unwrap_or_default());
            let gone = gone.into_iter().map(|name| Change::Delete(ObjectRef::new(&place.0, &place.1, &name)));
            self.send(gone.collect());
            self.watch(place, space);
        }
        spaces.retain(|_, space| !space.wanted.is_empty());
        self.spaces = spaces;
    }

    /// Begins the watches that a namespace needs, and ends those that it doesn't.
    fn watch(&self, place: &Place, space: &mut Space) {
        if space.many.is_some() && (space.wanted.len() < BACK_TO_SINGLE || space.refused) {
            space.many = None;
        }
        let mut alone = space.alone();
        if alone.len() > MOST_SINGLE && !space.refused {
            let names = space.wanted.iter().map(ToString::to_string).collect();
            let takes: Only = Arc::new(Mutex::new(names));
            let task = self.follow(place, None, Some(takes.clone()));
            space.many = Some(Many { takes, _task: task });
            alone.clear();
        }
        for name in alone {
            let begin = || self.follow(place, Some(name.clone()), None);
            space.single.entry(name.clone()).or_insert_with(begin);
        }
    }

    fn follow(&self, place: &Place, name: Option<Name>, only: Option<Only>) -> Task {
        let (client, namespace) = (self.client.clone(), &place.1);
        match &*place.0 {
            "ConfigMap" => self.follow_in(Api::<DoorConfigMap>::namespaced(client, namespace), place, name, only),
            "ClusterTrustBundle" => self.follow_in(Api::<DoorTrustBundle>::all(client), place, name, only),
            _ => self.follow_in(Api::<DoorSecret>::namespaced(client, namespace), place, name, only),
        }
    }

    fn follow_in<K>(&self, api: Api<K>, place: &Place, name: Option<Name>, only: Option<Only>) -> Task
    where
        K: AtDoor + DeserializeOwned,
    {
        let config = watcher::Config::default();
        let config = match &name {
            Some(name) => config.fields(&format!("metadata.name={name}")),
            None => config.fields("type=kubernetes.io/tls"),
        };
        let (told, place) = (self.told.clone(), place.clone());
        let namespace = (!place.1.is_empty()).then(|| place.1.to_string());
        let follow = Follow::<K> {
            api,
            subject: Subject { resource: K::plural(&()).into_owned(), group: K::group(&()).into_owned(), namespace },
            config,
            only,
            fallback: None,
            says: false,
            heard: Box::new(move |heard| {
                // Nobody hears it once the program ends.
                drop(told.send(Answer { place: place.clone(), name: name.clone(), heard }));
            }),
        };
        Task(tokio::spawn(follow.run(self.context.clone())).abort_handle())
    }

    fn answer(&mut self, Answer { place, name, heard }: Answer) {
        let Some(mut space) = self.spaces.remove(&place) else { return };
        match (name, heard) {
            (Some(name), heard) if space.single.contains_key(&name) => {
                if let Heard::Refused(why) = heard {
                    self.send(vec![unreadable(&place, &name, &why)]);
                }
                space.answered.insert(name);
            }
            (Some(_), _) => {}
            (None, Heard::Listed(found)) => space.found(&found),
            (None, Heard::Refused(why)) => {
                let namespace = &place.1;
                tracing::warn!(%namespace, "may not read the TLS Secrets of the namespace together ({why}): each is watched by itself");
                space.refused = true;
            }
        }
        self.watch(&place, &mut space);
        self.spaces.insert(place, space);
    }

    /// To the driver. When it is gone, the program ends.
    fn send(&self, changes: Vec<Change>) {
        if !changes.is_empty() {
            drop(self.context.driver.send(Message::Changes(changes)));
        }
    }
}

impl Space {
    /// Takes what is wanted now; gives what no longer is.
    fn want(&mut self, wanted: BTreeSet<Name>) -> Vec<Name> {
        let gone: Vec<Name> = self.wanted.difference(&wanted).cloned().collect();
        for name in &gone {
            self.single.remove(name);
            self.answered.remove(name);
            if let Some(many) = &self.many {
                many.takes.lock().unwrap_or_else(PoisonError::into_inner).remove(&**name);
            }
        }
        self.wanted = wanted;
        gone
    }

    /// What the watch of the namespace doesn't have.
    fn alone(&self) -> Vec<Name> {
        let many = self.many.as_ref().map(|many| many.takes.lock().unwrap_or_else(PoisonError::into_inner));
        let alone = self.wanted.iter().filter(|name| many.as_ref().is_none_or(|takes| !takes.contains(&***name)));
        alone.cloned().collect()
    }

    /// The watch of the namespace has listed: it has what it found, the rest is watched by itself.
    fn found(&mut self, names: &[String]) {
        let Some(many) = &self.many else { return };
        let mut takes = many.takes.lock().unwrap_or_else(PoisonError::into_inner);
        let found: HashSet<String> = names.iter().filter(|name| takes.contains(*name)).cloned().collect();
        for name in &found {
            self.single.remove(name.as_str());
            self.answered.insert(name.as_str().into());
        }
        *takes = found;
    }

    fn is_answered(&self) -> bool {
        self.wanted.iter().all(|name| self.answered.contains(name))
    }
}

fn unreadable((kind, namespace): &Place, name: &Name, why: &str) -> Change {
    let (resource, place) = match &**kind {
        "ConfigMap" => ("configmaps", format!(" in namespace {namespace}")),
        "ClusterTrustBundle" => ("clustertrustbundles", String::new()),
        _ => ("secrets", format!(" in namespace {namespace}")),
    };
    Change::Unreadable {
        object: ObjectRef::new(kind, namespace, name),
        why: format!("may not be read ({why})"),
        advice: format!("grant the verbs list and watch on resource {resource}{place} to the service account"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<Name> {
        names.iter().map(|name| Name::from(*name)).collect()
    }

    #[test]
    fn a_namespace_is_answered_when_each_wanted_secret_is() {
        let mut space = Space::default();
        assert!(space.is_answered());
        assert!(space.want(names(&["a", "b"])).is_empty());
        space.answered.insert("a".into());
        assert!(!space.is_answered());
        assert_eq!(space.want(names(&["a"])), [Name::from("b")]);
        assert!(space.is_answered());
        assert_eq!(space.want(names(&[])), [Name::from("a")]);
        space.want(names(&["a"]));
        assert!(!space.is_answered(), "an answer from before it was unwanted doesn't count");
    }

    #[tokio::test]
    async fn what_the_watch_of_a_namespace_lacks_is_watched_alone() {
        let task = Task(tokio::spawn(std::future::pending::<()>()).abort_handle());
        let takes: Only = Arc::new(Mutex::new(["a", "b"].map(str::to_owned).into()));
        let mut space = Space { many: Some(Many { takes, _task: task }), ..Space::default() };
        space.want(names(&["a", "b", "later"]));
        assert_eq!(space.alone(), [Name::from("later")]);
        space.found(&["a".into(), "unwanted".into()]);
        assert_eq!(space.alone(), [Name::from("b"), Name::from("later")]);
        assert!(space.answered.contains("a") && !space.answered.contains("unwanted"));
    }
}

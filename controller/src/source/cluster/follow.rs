//! Follows one watch: lists, then changes, for as long as the driver listens. What is wrong is said and tried again.
//!
//! kube's watcher keeps the place in the stream (bookmarks, resuming, a new list where it is gone); here objects become
//! changes, what a new list lacks becomes deletions, and what arrived together goes to the driver together.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{FutureExt as _, Stream, StreamExt as _};
use kube::Api;
use kube::runtime::watcher::{self, Event, InitialListStrategy, watcher};
use rust_ingress_model::ObjectRef;
use rust_ingress_translate::Change;
use serde::de::DeserializeOwned;

use super::door::AtDoor;
use super::known::Known;
use super::seen::Seen;
use super::trouble::{Backoff, Pace, Reach, Subject, Trouble};
use crate::driver::Message;

/// Most changes that go to the driver together: it takes them in while the next are read.
const BATCH: usize = 500;

/// What all watches share.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) driver: Sender<Message>,
    pub(super) seen: Seen,
    pub(super) reach: Arc<Reach>,
    /// Whether a node agent runs, and what only that reads is kept.
    pub(super) l4: bool,
}

/// What a watch has to say of itself; the changes before it are with the driver by then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    /// A list is complete. Holds the names, where the watch takes only some.
    Listed(Vec<String>),
    /// It may not be read, and why.
    Refused(String),
}

/// The names of a namespace that a watch takes; the others are dropped unread.
pub(super) type Only = Arc<Mutex<HashSet<String>>>;

/// One watch.
pub(super) struct Follow<K> {
    pub(super) api: Api<K>,
    pub(super) subject: Subject,
    pub(super) config: watcher::Config,
    /// Where the API server may have more than what is wanted.
    pub(super) only: Option<Only>,
    /// What stands in for the list where it may not be read.
    pub(super) fallback: Option<K>,
    /// Whether what is refused is said here; else whoever hears of it does.
    pub(super) says: bool,
    pub(super) heard: Box<dyn FnMut(Heard) + Send>,
}

/// How reading a stream ended.
enum End {
    /// Watch again from nothing.
    Again,
    /// Nobody listens any more.
    Deaf,
}

/// Where a watch stands.
#[derive(Default)]
struct State {
    known: Known,
    changes: Vec<Change>,
    heard: Option<Heard>,
    backoff: Backoff,
    pace: Pace,
}

impl<K: AtDoor + DeserializeOwned> Follow<K> {
    /// Follows until the driver is gone.
    pub(super) async fn run(mut self, context: Context) {
        let mut state = State::default();
        self.config = self.config.streaming_lists();
        loop {
            let stream = watcher(self.api.clone(), self.config.clone());
            if let End::Deaf = self.read(stream, &mut state, &context).await {
                return;
            }
        }
    }

    async fn read(&mut self, stream: impl Stream<Item = watcher::Result<Event<K>>>, state: &mut State, context: &Context) -> End {
        let mut stream = pin!(stream);
        loop {
            let mut next = stream.next().await;
            let mut trouble = None;
            while let Some(event) = next.take() {
                match event {
                    Ok(event) => self.take(event, state, context),
                    Err(error) => trouble = Some(Trouble::of(&error)),
                }
                let more = trouble.is_none() && state.heard.is_none() && state.changes.len() < BATCH;
                if more {
                    next = stream.next().now_or_never().flatten();
                }
            }
            if !self.hand_on(state, context) {
                return End::Deaf;
            }
            let Some(trouble) = trouble else { continue };
            self.say(&trouble, state, context);
            if !self.hand_on(state, context) {
                return End::Deaf;
            }
            let streaming = self.config.initial_list_strategy == InitialListStrategy::StreamingList;
            match trouble {
                Trouble::NoStreaming if streaming => {
                    self.config.initial_list_strategy = InitialListStrategy::ListWatch;
                    return End::Again;
                }
                _ => tokio::time::sleep(state.backoff.next(&trouble)).await,
            }
            if trouble == Trouble::Expired {
                return End::Again;
            }
        }
    }

    /// Gives the driver what there is, then says what is to be heard. False once nobody listens.
    fn hand_on(&mut self, state: &mut State, context: &Context) -> bool {
        let changes = std::mem::take(&mut state.changes);
        let listens = changes.is_empty() || context.driver.send(Message::Changes(changes)).is_ok();
        if let Some(heard) = state.heard.take() {
            (self.heard)(heard);
        }
        listens
    }

    fn take(&mut self, event: Event<K>, state: &mut State, context: &Context) {
        context.reach.found();
        state.backoff.reset();
        match event {
            Event::Init => state.known.begin(),
            Event::InitApply(object) | Event::Apply(object) => self.put(object, state, context),
            Event::Delete(object) => {
                let reference = reference(&object);
                if state.known.remove(&reference.namespace, &reference.name) {
                    context.seen.remove(&reference);
                    state.changes.push(Change::Delete(reference));
                }
            }
            Event::InitDone => {
                state.pace.over();
                self.listed(state, context);
            }
        }
    }

    fn put(&self, object: K, state: &mut State, context: &Context) {
        let reference = reference(&object);
        let taken = |only: &Only| only.lock().unwrap_or_else(PoisonError::into_inner).contains(&*reference.name);
        if self.only.as_ref().is_none_or(taken) {
            state.known.insert(&reference.namespace, &reference.name);
            state.changes.push(Change::Put(object.enter(&reference, &context.seen, context.l4)));
        }
    }

    fn listed(&self, state: &mut State, context: &Context) {
        for (namespace, name) in state.known.end() {
            let reference = ObjectRef::new(&K::kind(&()), &namespace, &name);
            context.seen.remove(&reference);
            state.changes.push(Change::Delete(reference));
        }
        let names = self.only.iter().flat_map(|_| state.known.names().map(str::to_owned));
        state.heard = Some(Heard::Listed(names.collect()));
    }

    /// Says what is wrong, at a pace that can be read, and lets others go on where nothing is to be waited for.
    fn say(&mut self, trouble: &Trouble, state: &mut State, context: &Context) {
        match trouble {
            Trouble::Unreachable(why) => context.reach.lost(why),
            Trouble::Refused(why) => {
                context.reach.found();
                if self.says && state.pace.due() {
                    self.subject.refused(why);
                }
                match self.fallback.take() {
                    Some(object) if state.known.is_empty() => {
                        self.put(object, state, context);
                        state.heard = Some(Heard::Listed(Vec::new()));
                    }
                    _ => state.heard = Some(Heard::Refused(why.clone())),
                }
            }
            Trouble::NoKind => {
                context.reach.found();
                if state.pace.due() {
                    self.subject.no_kind();
                }
                // The kind may have gone with all its objects.
                state.known.begin();
                self.listed(state, context);
            }
            Trouble::NoStreaming | Trouble::Expired => {
                tracing::debug!(?trouble, resource = self.subject.resource, "listing again");
            }
        }
    }
}

fn reference<K: AtDoor>(object: &K) -> ObjectRef {
    let meta = object.meta();
    ObjectRef::new(&K::kind(&()), meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
}

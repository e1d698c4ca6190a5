//! The rules, walked as the kernel walks them: the same [`Ruleset`] and elements, one packet, and a note of what matched.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use super::Origin;
use crate::l4::element::{Data, Element, Field, Verdict};
use crate::l4::rule::{Chain, ChainName, Load, Rule, Step};
use crate::l4::ruleset::Ruleset;
use crate::l4::service::Transport;
use crate::l4::set::SetName;

/// A table with its elements.
pub struct Kernel {
    chains: BTreeMap<ChainName, Chain>,
    exact: BTreeMap<(SetName, Vec<Field>), Data>,
    /// Of sets with ranges.
    ranges: BTreeMap<SetName, Vec<Element>>,
}

/// A packet on its way.
#[derive(Debug, Clone, Copy)]
pub struct State {
    /// Its protocol.
    pub transport: Transport,
    /// From where.
    pub source: SocketAddr,
    /// To where, now.
    pub destination: SocketAddr,
    /// To where, before DNAT.
    pub original: SocketAddr,
    /// Where it entered.
    pub origin: Origin,
    /// Whether its source is an address of this host.
    pub source_is_local: bool,
}

/// How a hook ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// No rule did anything.
    Accepted,
    /// Dropped.
    Dropped,
    /// Refused.
    Refused,
    /// To one of these.
    Translated(Vec<SocketAddr>),
    /// Got the node's address.
    Masqueraded,
}

/// Something that a rule found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// In which chain.
    pub chain: ChainName,
    /// In which set.
    pub set: SetName,
    /// The element, as text.
    pub element: String,
}

/// What a hook did, and what it matched on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walk {
    /// How it ended.
    pub end: End,
    /// What was found, in order. Of what is chosen at random: not each.
    pub matches: Vec<Match>,
    /// A client that has an endpoint already keeps it.
    pub sticky: bool,
}

/// What a rule or chain says.
enum Say {
    GoOn,
    NextRule,
    Return,
    End(End),
}

impl Kernel {
    /// A table and its elements.
    pub fn new(ruleset: Ruleset, elements: impl Iterator<Item = Element>) -> Self {
        let intervals: BTreeSet<SetName> = ruleset.sets.iter().filter(|set| set.interval).map(|set| set.name).collect();
        let chains = ruleset.chains.into_iter().map(|chain| (chain.name, chain)).collect();
        let mut kernel = Self { chains, exact: BTreeMap::new(), ranges: BTreeMap::new() };
        for element in elements.filter(|element| element.family == ruleset.family) {
            if intervals.contains(&element.set) {
                kernel.ranges.entry(element.set).or_default().push(element);
            } else {
                kernel.exact.insert((element.set, element.key.fields().collect()), element.data);
            }
        }
        kernel
    }

    /// What the rules of a base chain do with a packet.
    pub fn walk(&self, base: ChainName, state: &State) -> Walk {
        let mut walk = Walk { end: End::Accepted, matches: Vec::new(), sticky: false };
        if let Say::End(end) = self.chain(base, state, &mut walk) {
            walk.end = end;
        }
        walk
    }

    fn chain(&self, name: ChainName, state: &State, walk: &mut Walk) -> Say {
        for rule in self.chains.get(&name).iter().flat_map(|chain| &chain.rules) {
            match self.rule(name, rule, state, walk) {
                Say::GoOn | Say::NextRule => {}
                say => return say,
            }
        }
        Say::GoOn
    }

    fn rule(&self, chain: ChainName, rule: &Rule, state: &State, walk: &mut Walk) -> Say {
        let before = walk.matches.len();
        for step in &rule.0 {
            match self.step(chain, step, state, walk) {
                Say::GoOn => {}
                Say::NextRule => {
                    // It did nothing, whatever it found.
                    walk.matches.truncate(before);
                    return Say::NextRule;
                }
                say => return say,
            }
        }
        Say::GoOn
    }

    fn step(&self, chain: ChainName, step: &Step, state: &State, walk: &mut Walk) -> Say {
        let if_so = |so: bool| if so { Say::GoOn } else { Say::NextRule };
        match step {
            Step::InSet { key, set, negated } => {
                let found = self.find(*set, &fields(key, state), chain, walk);
                if_so(found.is_some() != *negated)
            }
            Step::Vmap { key, map } => match self.find(*map, &fields(key, state), chain, walk) {
                Some(Data::Verdict(verdict)) => self.verdict(verdict, state, walk),
                _ => Say::NextRule,
            },
            Step::Dnat { key, map } => self.translate(chain, key, *map, state, walk),
            Step::Redirect(port) => Say::End(End::Translated(vec![SocketAddr::new(state.destination.ip(), *port)])),
            // What it records changes nothing for this packet.
            Step::Update { .. } => Say::GoOn,
            Step::Protocol(transport) => if_so(*transport == state.transport),
            Step::SourceIsLocal { negated } => if_so(state.source_is_local != *negated),
            Step::FromInterface { negated, .. } => if_so((state.origin == Origin::Pod) != *negated),
            Step::Translated => if_so(state.destination != state.original),
            Step::Masquerade { .. } | Step::SnatRange { .. } => Say::End(End::Masqueraded),
            Step::Reset | Step::Unreachable => Say::End(End::Refused),
            Step::Drop => self.verdict(Verdict::Drop, state, walk),
            Step::Jump(to) => self.verdict(Verdict::Jump(*to), state, walk),
            Step::Goto(to) => self.verdict(Verdict::Goto(*to), state, walk),
            Step::Return => Say::Return,
        }
    }

    fn verdict(&self, verdict: Verdict, state: &State, walk: &mut Walk) -> Say {
        match verdict {
            Verdict::Drop => Say::End(End::Dropped),
            Verdict::Jump(to) => match self.chain(to, state, walk) {
                Say::Return | Say::GoOn | Say::NextRule => Say::GoOn,
                end => end,
            },
            Verdict::Goto(to) => match self.chain(to, state, walk) {
                Say::GoOn | Say::NextRule => Say::Return,
                say => say,
            },
        }
    }

    /// Every endpoint that the random index may give.
    fn translate(&self, chain: ChainName, key: &[Load], map: SetName, state: &State, walk: &mut Walk) -> Say {
        if matches!(map, SetName::Affinity | SetName::NodePortAffinity) {
            walk.sticky = true;
            return Say::NextRule;
        }
        let (first, count) = match key.last() {
            Some(Load::Random { modulus, offset }) => (*offset, *modulus),
            _ => (0, 1),
        };
        let key = fields(key, state);
        let mut endpoints = Vec::new();
        for index in first..first.saturating_add(count) {
            let key: Vec<Field> =
                key.iter().map(|field| if let Field::Index(_) = field { Field::Index(index) } else { *field }).collect();
            if let Some(Data::Endpoint(endpoint)) = self.exact.get(&(map, key)) {
                endpoints.push(*endpoint);
            }
        }
        if endpoints.is_empty() {
            return Say::NextRule;
        }
        let element = match endpoints.len() {
            1 => "one".into(),
            many => format!("{many}, one at random"),
        };
        walk.matches.push(Match { chain, set: map, element });
        Say::End(End::Translated(endpoints))
    }

    fn find(&self, set: SetName, key: &[Field], chain: ChainName, walk: &mut Walk) -> Option<Data> {
        let mut ranges = self.ranges.get(&set).into_iter().flatten();
        let ranged = ranges.find(|element| element.key.fields().zip(key).all(|(wide, field)| is_in(wide, *field)));
        let found = ranged.map(|element| (element.key.fields().collect(), element.data));
        let (fields, data) = found.or_else(|| self.exact.get(&(set, key.to_vec())).map(|data| (key.to_vec(), *data)))?;
        let text: Vec<String> = fields.iter().map(Field::to_string).collect();
        let verdict = if let Data::Verdict(verdict) = data { format!(" : {verdict}") } else { String::new() };
        walk.matches.push(Match { chain, set, element: format!("{}{verdict}", text.join(" . ")) });
        Some(data)
    }
}

fn is_in(wide: Field, field: Field) -> bool {
    match (wide, field) {
        (Field::Network(network), Field::Address(address)) => network.contains(&address),
        _ => wide == field,
    }
}

fn fields(key: &[Load], state: &State) -> Vec<Field> {
    let field = |load: &Load| match load {
        Load::SourceAddress => Field::Address(state.source.ip()),
        Load::DestinationAddress => Field::Address(state.destination.ip()),
        Load::Protocol => Field::Protocol(state.transport),
        Load::DestinationPort => Field::Port(state.destination.port()),
        Load::OriginalAddress => Field::Address(state.original.ip()),
        Load::OriginalPort => Field::Port(state.original.port()),
        Load::Random { offset, .. } => Field::Index(*offset),
    };
    key.iter().map(field).collect()
}

/// Whether an address is among a host's.
pub fn is_among(address: IpAddr, addresses: &[IpAddr]) -> bool {
    address.is_loopback() || addresses.contains(&address)
}

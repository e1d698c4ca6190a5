//! The ports that the proxy listens on for Gateways of a cluster, where a Service brings the traffic of each.
//!
//! Every Gateway may have port 80, so on a node each listener port of each Gateway has one of its own: below the NodePorts
//! (30000) and the ports of outgoing connections (32768), at the place that its name's hash says, the next free one where an
//! older Gateway has that. The same on every node.

use std::collections::{BTreeMap, BTreeSet};

use rust_ingress_model::Digest;

use crate::world::Key;

const FIRST: u16 = 20_000;
const COUNT: u16 = 10_000;

/// Which port stands for a listener port of a Gateway.
pub(crate) type Ports = BTreeMap<(Key, u16), u16>;

/// Gives out ports to Gateways for those that they listen on; the oldest first.
pub(crate) fn assign(gateways: impl Iterator<Item = (Key, BTreeSet<u16>)>) -> Ports {
    let (mut ports, mut taken) = (Ports::new(), BTreeSet::new());
    for (key, wanted) in gateways {
        for port in wanted {
            let Digest([high, low, ..]) = Digest::of(&(&key.0, &key.1, port));
            let start = u16::from_be_bytes([high, low]) % COUNT;
            let free = (0..COUNT).map(|step| FIRST + (start + step) % COUNT).find(|port| !taken.contains(port));
            if let Some(free) = free {
                taken.insert(free);
                ports.insert((key.clone(), port), free);
            }
        }
    }
    ports
}

//! The endpoints of one Service port, from its slices. All of them, whether ready or not: who may be used is decided for each
//! node, in the model's plan.
//!
//! Slices are matched by the port's name and protocol, so that named target ports may differ between them. Of an endpoint
//! only the first address counts, as for kube-proxy.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use rust_ingress_model::l4::{L4Endpoint, Transport};
use rust_ingress_model::{Fault, Name, ObjectRef, Reason};

use super::{L4, left_out};
use crate::backend::usable_address;
use crate::faults::Faults;
use crate::ingress::validate;
use crate::settings::Origin;
use crate::world::{Key, World};

/// Reads the slices of one Service.
pub(super) struct Reader<'a> {
    pub(super) world: &'a World,
    pub(super) l4: &'a L4,
    pub(super) origin: Origin,
    pub(super) key: &'a Key,
    /// What is wrong with the slices: each thing once, however many ports they have.
    pub(super) faults: BTreeSet<Fault>,
}

impl Reader<'_> {
    /// The endpoints of a port, in order of address.
    pub(super) fn port(&mut self, name: &str, transport: Transport) -> Vec<L4Endpoint> {
        let mut found = Vec::new();
        let slices = self.world.slices.get(self.key).into_iter().flatten();
        for (slice_name, slice) in slices.filter(|(_, slice)| !left_out(slice.metadata.labels.as_ref())) {
            let mut faults = Faults::of(ObjectRef::new("EndpointSlice", &self.key.0, slice_name));
            self.slice(slice, name, transport, &mut found, &mut faults);
            self.faults.extend(faults.into_list());
        }
        // While an endpoint moves from one slice to another it may stand in both: the one that can be used counts.
        found.sort_by(|one, other| (one.address, rank(one)).cmp(&(other.address, rank(other))));
        found.dedup_by_key(|endpoint| endpoint.address);
        found
    }

    fn slice(&self, slice: &EndpointSlice, name: &str, transport: Transport, found: &mut Vec<L4Endpoint>, faults: &mut Faults) {
        let named = |port: &&EndpointPort| port.name.as_deref().unwrap_or_default() == name && protocol(port) == Some(transport);
        let Some(number) = slice.ports.iter().flatten().find(named).and_then(|port| port.port) else { return };
        let Some(port) = validate::port_number(number) else {
            let message = format!("port {number} isn't a port: its endpoints aren't used");
            return faults.error("ports", Reason::InvalidEndpoint, message, "write a number from 1 to 65535");
        };
        for (index, endpoint) in slice.endpoints.iter().flatten().enumerate() {
            let text = endpoint.addresses.first().map_or("", String::as_str);
            match usable_address(text, &slice.address_type, self.origin) {
                Ok(ip) => found.push(self.endpoint(SocketAddr::new(ip, port), endpoint)),
                Err((why, advice)) => {
                    let field = format!("endpoints[{index}].addresses[0]");
                    faults.error(field, Reason::InvalidEndpoint, format!("{text:?} {why}: it isn't used"), advice);
                }
            }
        }
    }

    fn endpoint(&self, address: SocketAddr, endpoint: &Endpoint) -> L4Endpoint {
        let conditions = endpoint.conditions.as_ref();
        let ready = conditions.and_then(|conditions| conditions.ready).unwrap_or(true);
        let place = |name: &str| self.l4.place(name);
        let hints = endpoint.hints.as_ref();
        L4Endpoint {
            address,
            ready,
            serving: conditions.and_then(|conditions| conditions.serving).unwrap_or(ready),
            terminating: conditions.and_then(|conditions| conditions.terminating).unwrap_or(false),
            node: endpoint.node_name.as_deref().map(place),
            for_zones: hints.iter().flat_map(|hints| hints.for_zones.iter().flatten()).map(|zone| place(&zone.name)).collect(),
            for_nodes: hints.iter().flat_map(|hints| hints.for_nodes.iter().flatten()).map(|node| place(&node.name)).collect(),
        }
    }
}

/// The names of nodes and zones that are kept of an endpoint.
pub(super) fn places(endpoint: &Endpoint) -> impl Iterator<Item = &str> {
    let hints = endpoint.hints.as_ref();
    let zones = hints.into_iter().flat_map(|hints| hints.for_zones.iter().flatten()).map(|zone| zone.name.as_str());
    let nodes = hints.into_iter().flat_map(|hints| hints.for_nodes.iter().flatten()).map(|node| node.name.as_str());
    endpoint.node_name.as_deref().into_iter().chain(zones).chain(nodes)
}

/// The more it can be used, the lower. Ties are broken by the rest, so that the order of slices doesn't matter.
fn rank(endpoint: &L4Endpoint) -> (bool, bool, bool, Option<&Name>, &[Name], &[Name]) {
    let L4Endpoint { address: _, ready, serving, terminating, node, for_zones, for_nodes } = endpoint;
    (!ready, !serving, *terminating, node.as_ref(), for_zones, for_nodes)
}

fn protocol(port: &EndpointPort) -> Option<Transport> {
    super::frontend::transport_named(port.protocol.as_deref())
}

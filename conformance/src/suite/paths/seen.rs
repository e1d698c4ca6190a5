//! What was seen of a packet, beside what was predicted.

use std::net::{IpAddr, SocketAddr};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::Rig;
use super::packet::{Packet, SOON, Transport};
use crate::cluster::Place;

/// What becomes of a packet's source, as `agent explain` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Kept,
    Node,
}

/// What `agent explain` says.
struct Predicted {
    destinations: Vec<(SocketAddr, Source)>,
}

impl Predicted {
    fn read(text: &str) -> Result<Self> {
        let destinations = text.lines().filter_map(|line| {
            let rest = line.strip_prefix("DNAT to ").or_else(|| line.strip_prefix("goes on to "))?;
            let (address, what) = rest.split_once(", source ")?;
            let source = if what.starts_with("kept") { Source::Kept } else { Source::Node };
            Some((address.parse().ok()?, source))
        });
        let destinations: Vec<_> = destinations.collect();
        ensure!(!destinations.is_empty(), "agent explain predicts no destination:\n{text}");
        Ok(Self { destinations })
    }
}

/// A flow's reply, as conntrack expects it: the far end, and to whom it answers.
fn reply(rig: &Rig<'_>, packet: &Packet<'_>) -> Result<(SocketAddr, SocketAddr)> {
    let family = if packet.from.is_ipv4() { "ipv4" } else { "ipv6" };
    let (source, port) = (packet.from.ip().to_string(), packet.from.port().to_string());
    let line = ["conntrack", "-L", "-f", family, "-p", packet.transport.name(), "--src", &source, "--sport", &port];
    let text = rig.cluster.run(Place::Network(packet.node.0), &line)?;
    let line = text.lines().next().with_context(|| format!("conntrack of {} doesn't know the flow", packet.node.name()))?;
    let second = |key: &str| line.split_whitespace().filter_map(|word| word.strip_prefix(key)).nth(1);
    let address = |address: &str, port: &str| -> Option<SocketAddr> {
        Some(SocketAddr::new(second(address)?.parse().ok()?, second(port)?.parse().ok()?))
    };
    address("src=", "sport=").zip(address("dst=", "dport=")).with_context(|| format!("conntrack says {line}"))
}

/// Asks `agent explain` until it knows a destination: endpoints that have just become ready may not be in the API yet.
fn predicted(rig: &Rig<'_>, packet: &Packet<'_>, egress: bool) -> Result<(String, Predicted)> {
    let begin = Instant::now();
    loop {
        let explained = rig.explain(packet.node, &packet.text(), egress)?;
        match Predicted::read(&explained) {
            Ok(predicted) => return Ok((explained, predicted)),
            Err(error) if begin.elapsed() > SOON => return Err(error),
            Err(_) => sleep(Duration::from_millis(100)),
        }
    }
}

/// Sends a packet and holds what was seen against what was predicted; gives a line of both.
pub fn compare(rig: &Rig<'_>, packet: &Packet<'_>, egress: bool) -> Result<String> {
    let text = packet.text();
    let (explained, predicted) = predicted(rig, packet, egress)?;
    let source = packet.send(rig).with_context(|| format!("{text} isn't answered; agent explain says\n{explained}"))?;
    let (far, answers_to) = reply(rig, packet)?;
    let Some((_, what)) = predicted.destinations.iter().find(|(address, _)| *address == far) else {
        bail!("{text} went to {far}; agent explain says\n{explained}")
    };
    // A UDP client may be masqueraded by port too; who it is, is the address.
    ensure!(source.ip() == answers_to.ip(), "{text}: the far end saw {source}, conntrack has {answers_to}");
    let node: Vec<IpAddr> = rig.addresses(packet.node)?.into_iter().collect();
    match what {
        Source::Kept => ensure!(source == packet.from, "{text} came from {source}; agent explain says\n{explained}"),
        Source::Node => ensure!(
            source.ip() != packet.from.ip() && node.contains(&source.ip()),
            "{text} came from {source}, not an address of {}; agent explain says\n{explained}",
            packet.node.name()
        ),
    }
    let predicted = match what {
        Source::Kept => "source kept",
        Source::Node => "source becomes the node's",
    };
    Ok(format!("{text}: seen from {source} at {far}, as predicted ({predicted})"))
}

/// Both transports.
pub const BOTH: [Transport; 2] = [Transport::Tcp, Transport::Udp];

//! Path 7: from a Pod to servers outside, with and without egress SNAT.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};

use super::ends::{client, like};
use super::packet::Packet;
use super::seen::{BOTH, compare};
use super::{Rig, carrier, outside};
use crate::cluster::Place;
use crate::cluster::layout::{WAN_V4, WAN_V6};

/// An address of a private network that is outside all the same.
const LAN: &str = "192.168.7.1";

/// TCP, UDP and ping; to a LAN as well; and the control without SNAT.
pub fn egress(rig: &Rig<'_>, said: &mut Vec<String>) -> Result<()> {
    let (sender, node, own) = client(rig, "path-7")?;
    let lan = format!("{LAN}/32");
    rig.cluster.run(Place::Wan, &["ip", "addr", "replace", &lan, "dev", "lo"])?;
    let servers = [WAN_V4.parse()?, WAN_V6.parse()?, LAN.parse()?];
    let port = outside::start(&servers)?;
    let sent = (|| -> Result<()> {
        for address in servers {
            for transport in BOTH {
                let packet = Packet::new(&sender, transport, like(&own, address)?, SocketAddr::new(address, port), node);
                said.push(compare(rig, &packet, true)?);
            }
        }
        for address in [WAN_V4, WAN_V6, LAN] {
            let ping = ["-n", "path-7", "exec", "client", "--", "ping", "-c", "1", "-W", "3", address];
            rig.cluster.kubectl(&ping).with_context(|| format!("{address} answers no ping"))?;
            said.push(format!("{address} answers a ping"));
        }
        Ok(())
    })();
    rig.cluster.run(Place::Wan, &["ip", "addr", "del", &lan, "dev", "lo"])?;
    sent?;
    carrier::with(rig.cluster, &["l4.egressSNAT.enabled=false"])?;
    let (wan, from) = (WAN_V4.parse()?, like(&own, WAN_V4.parse()?)?);
    let unanswered = Packet::new(&sender, BOTH[0], from, SocketAddr::new(wan, port), node).send_once(rig);
    carrier::with(rig.cluster, &[])?;
    ensure!(unanswered.is_err(), "without egress SNAT the server outside saw {unanswered:?}: something else translates");
    said.push("without egress SNAT the outside is not reached, as it must be".into());
    Ok(())
}

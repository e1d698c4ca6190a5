//! ARP (RFC 826, 5227) and neighbour discovery (RFC 4861) as frames on Ethernet: who is asked for, and what is answered. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A hardware address.
pub type Mac = [u8; 6];

const BROADCAST: Mac = [0xff; 6];
const ARP: [u8; 2] = [0x08, 0x06];
const IPV6: [u8; 2] = [0x86, 0xdd];
const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// Flags of an advertisement: it answers a question; it replaces what was known.
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// A question for the hardware address of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// The address that is asked for.
    pub target: IpAddr,
    /// Who asks; unspecified where somebody looks whether the address is free.
    pub from: IpAddr,
    /// Where the answer goes.
    pub mac: Mac,
}

/// Reads a frame; `None` where it isn't a question.
pub fn question(frame: &[u8]) -> Option<Question> {
    let kind: [u8; 2] = at(frame, 12)?;
    if kind == ARP { arp_question(frame.get(14..)?) } else { solicitation(frame) }
}

fn arp_question(packet: &[u8]) -> Option<Question> {
    // Ethernet and IPv4, with addresses of 6 and 4 bytes; a request.
    if at::<8>(packet, 0)? != [0, 1, 8, 0, 6, 4, 0, 1] {
        return None;
    }
    let (mac, from, target) = (at(packet, 8)?, Ipv4Addr::from(at::<4>(packet, 14)?), Ipv4Addr::from(at::<4>(packet, 24)?));
    // Somebody else's gratuitous one is no question.
    (from != target).then_some(Question { target: target.into(), from: from.into(), mac })
}

/// RFC 4861 §7.1.1 says what is to be checked.
fn solicitation(frame: &[u8]) -> Option<Question> {
    let header = frame.get(14..54)?;
    let (next, hop_limit, from) = (*header.get(6)?, *header.get(7)?, Ipv6Addr::from(at::<16>(header, 8)?));
    let message = frame.get(54..)?.get(..usize::from(u16::from_be_bytes(at(header, 4)?)))?;
    if at::<2>(frame, 12)? != IPV6 || next != ICMPV6 || hop_limit != 255 || at::<2>(message, 0)? != [SOLICITATION, 0] {
        return None;
    }
    let target = Ipv6Addr::from(at::<16>(message, 8)?);
    let to = Ipv6Addr::from(at::<16>(header, 24)?);
    if checksum(from, to, message) != 0 || target.is_multicast() {
        return None;
    }
    Some(Question { target: target.into(), from: from.into(), mac: at(frame, 6)? })
}

/// Reads a frame by which somebody says unasked that an address is at a hardware address from now on.
pub fn said_takeover(frame: &[u8]) -> Option<(IpAddr, Mac)> {
    if at(frame, 12)? == ARP {
        let packet = frame.get(14..)?;
        let (mac, from, target) = (at(packet, 8)?, Ipv4Addr::from(at::<4>(packet, 14)?), Ipv4Addr::from(at::<4>(packet, 24)?));
        return (at::<6>(packet, 0)? == [0, 1, 8, 0, 6, 4] && from == target).then_some((from.into(), mac));
    }
    let message = frame.get(54..)?;
    // Unasked, overriding, with the target's link-layer address as its first option, as ours are.
    let ours = at::<2>(frame, 12)? == IPV6 && *frame.get(20)? == ICMPV6 && *frame.get(21)? == 255;
    let unasked = at::<2>(message, 0)? == [ADVERTISEMENT, 0] && message.get(4)? & (SOLICITED | OVERRIDE) == OVERRIDE;
    let target = Ipv6Addr::from(at::<16>(message, 8)?);
    (ours && unasked && at(message, 24)? == [2, 1]).then_some((target.into(), at(message, 26)?))
}

/// The answer to a question, from the interface with this hardware address. `via`: its link-local address.
pub fn answer(question: &Question, mac: Mac, via: Option<Ipv6Addr>) -> Option<Vec<u8>> {
    match (question.target, question.from) {
        (IpAddr::V4(target), IpAddr::V4(from)) => Some(arp(2, (mac, target), (question.mac, from), question.mac)),
        (IpAddr::V6(target), IpAddr::V6(from)) => {
            // Who looks whether the address is free has none yet to be answered at.
            let (to, flags) = if from.is_unspecified() { (ALL_NODES, OVERRIDE) } else { (from, SOLICITED | OVERRIDE) };
            let ethernet = if from.is_unspecified() { multicast(ALL_NODES) } else { question.mac };
            Some(advertisement(target, mac, (via.unwrap_or(target), to), ethernet, flags))
        }
        _ => None,
    }
}

/// What tells everybody on the link that an address is at this hardware address from now on.
pub fn takeover(address: IpAddr, mac: Mac, via: Option<Ipv6Addr>) -> Vec<u8> {
    match address {
        // A request for itself, which more hosts heed than an unasked reply (RFC 5227 §3).
        IpAddr::V4(address) => arp(1, (mac, address), ([0; 6], address), BROADCAST),
        IpAddr::V6(address) => advertisement(address, mac, (via.unwrap_or(address), ALL_NODES), multicast(ALL_NODES), OVERRIDE),
    }
}

fn arp(operation: u8, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr), to: Mac) -> Vec<u8> {
    let mut frame = ethernet(to, sender.0, ARP);
    frame.extend([0, 1, 8, 0, 6, 4, 0, operation]);
    frame.extend(sender.0);
    frame.extend(sender.1.octets());
    frame.extend(target.0);
    frame.extend(target.1.octets());
    frame
}

fn advertisement(target: Ipv6Addr, mac: Mac, (from, to): (Ipv6Addr, Ipv6Addr), ethernet_to: Mac, flags: u8) -> Vec<u8> {
    let mut message = vec![ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0];
    message.extend(target.octets());
    // The target's link-layer address, in units of eight bytes.
    message.extend([2, 1]);
    message.extend(mac);
    let sum = checksum(from, to, &message).to_be_bytes();
    message.splice(2..4, sum);
    let mut frame = ethernet(ethernet_to, mac, IPV6);
    let length = u16::try_from(message.len()).unwrap_or_default().to_be_bytes();
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(length);
    frame.extend([ICMPV6, 255]);
    frame.extend(from.octets());
    frame.extend(to.octets());
    frame.extend(message);
    frame
}

fn ethernet(to: Mac, from: Mac, kind: [u8; 2]) -> Vec<u8> {
    [to.as_slice(), &from, &kind].concat()
}

/// The hardware address of a group (RFC 2464 §7).
fn multicast(group: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = group.octets();
    [0x33, 0x33, a, b, c, d]
}

/// The group that is asked for an address (RFC 4291 §2.7.1).
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    let last = u16::from_be_bytes([b, c]);
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), last)
}

/// The Internet checksum over the pseudo header (RFC 8200 §8.1) and the message; 0 for one that carries its own.
fn checksum(from: Ipv6Addr, to: Ipv6Addr, message: &[u8]) -> u16 {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    let parts = [from.octets().as_slice(), &to.octets(), &length, &[0, 0, 0, ICMPV6], message].concat();
    let word = |pair: &[u8]| match pair {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        [high] => u32::from(u16::from_be_bytes([*high, 0])),
        _ => 0,
    };
    let mut sum: u32 = parts.chunks(2).map(word).fold(0, u32::wrapping_add);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

/// `N` bytes of a packet.
fn at<const N: usize>(packet: &[u8], place: usize) -> Option<[u8; N]> {
    packet.get(place..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const OURS: Mac = [2, 0, 0, 0, 0, 1];
    const THEIRS: Mac = [2, 0, 0, 0, 0, 2];

    #[test]
    fn an_arp_request_is_answered_to_who_asked() {
        let ip = |last| Ipv4Addr::new(192, 0, 2, last);
        let asked = question(&arp(1, (THEIRS, ip(9)), ([0; 6], ip(1)), BROADCAST)).unwrap();
        assert_eq!(asked, Question { target: ip(1).into(), from: ip(9).into(), mac: THEIRS });
        let answer = answer(&asked, OURS, None).unwrap();
        assert_eq!(answer, arp(2, (OURS, ip(1)), (THEIRS, ip(9)), THEIRS));
        assert_eq!(question(&answer), None, "a reply is no question");
        let taken = takeover(ip(1).into(), THEIRS, None);
        assert_eq!((question(&taken), said_takeover(&taken)), (None, Some((ip(1).into(), THEIRS))));
    }

    #[test]
    fn a_solicitation_is_answered_with_a_valid_advertisement() {
        let (target, from, via) = ("2001:db8::1", "2001:db8::9", "fe80::1");
        let (target, from, via): (Ipv6Addr, Ipv6Addr, Ipv6Addr) =
            (target.parse().unwrap(), from.parse().unwrap(), via.parse().unwrap());
        let solicit = |from: Ipv6Addr| {
            let mut message = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
            message.extend(target.octets());
            let group = solicited_node(target);
            let sum = checksum(from, group, &message).to_be_bytes();
            message.splice(2..4, sum);
            let mut frame = ethernet(multicast(group), THEIRS, IPV6);
            frame.extend([0x60, 0, 0, 0, 0, 24, ICMPV6, 255]);
            frame.extend(from.octets());
            frame.extend(group.octets());
            frame.extend(message);
            frame
        };
        let asked = question(&solicit(from)).unwrap();
        assert_eq!(asked, Question { target: target.into(), from: from.into(), mac: THEIRS });
        let frame = answer(&asked, OURS, Some(via)).unwrap();
        assert_eq!(checksum(via, from, &frame[54..]), 0);
        assert_eq!((frame[54], frame[58], &frame[..6]), (ADVERTISEMENT, SOLICITED | OVERRIDE, &THEIRS[..]));
        assert_eq!(said_takeover(&frame), None, "somebody asked for it");
        let probe = question(&solicit(Ipv6Addr::UNSPECIFIED)).unwrap();
        let frame = answer(&probe, OURS, None).unwrap();
        assert_eq!((frame[58], &frame[..6]), (OVERRIDE, &[0x33, 0x33, 0, 0, 0, 1][..]), "defended before all nodes");
        assert_eq!(said_takeover(&takeover(target.into(), OURS, Some(via))), Some((target.into(), OURS)));
        let mut damaged = solicit(from);
        damaged[70] ^= 1;
        assert_eq!(question(&damaged), None);
        let mut routed = solicit(from);
        routed[21] = 254;
        assert_eq!(question(&routed), None, "it came from behind a router");
    }

    #[test]
    fn short_frames_are_no_questions() {
        let frame = arp(1, (THEIRS, Ipv4Addr::new(192, 0, 2, 9)), ([0; 6], Ipv4Addr::new(192, 0, 2, 1)), BROADCAST);
        assert!((0..frame.len()).all(|length| question(&frame[..length]).is_none()));
        assert!((0..30).all(|length| said_takeover(&frame[..length]).is_none()));
    }

    #[test]
    fn groups_are_named_after_the_last_24_bits() {
        let group = solicited_node("2001:db8::12:3456".parse().unwrap());
        assert_eq!((group, multicast(group)), ("ff02::1:ff12:3456".parse().unwrap(), [0x33, 0x33, 0xff, 0x12, 0x34, 0x56]));
    }
}

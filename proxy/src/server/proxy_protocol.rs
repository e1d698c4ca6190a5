//! The PROXY protocol, versions 1 and 2 (haproxy.org, `doc/proxy-protocol.txt`): who the client is, as a load balancer
//! in front of us says. Only where a listener asks for it; there a connection without a header is refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest version 1 header, in bytes, line end included (§2.1).
const V1_MAX: usize = 107;
/// What opens version 2 (§2.2).
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest version 2 header that is read, in bytes: addresses and TLVs.
const V2_MAX: usize = 16 + 4096;

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// The connection is the load balancer's own, or its family isn't TCP over IP: use the socket's addresses.
    Local,
    /// A client behind the load balancer.
    Proxied {
        /// The client.
        source: SocketAddr,
        /// What it connected to.
        destination: SocketAddr,
    },
}

/// A header that can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("PROXY protocol: {0}; check that the load balancer in front sends it, or turn it off on this listener")]
pub struct BadHeader(&'static str);

/// Reads a header from the first bytes of a connection: the header and its length in bytes, or `None` while there are too few.
///
/// # Errors
/// Bytes that are no header.
pub fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, BadHeader> {
    let opens = |signature: &[u8]| bytes.iter().zip(signature).all(|(byte, expected)| byte == expected);
    if opens(V2_SIGNATURE) {
        return if bytes.len() < 16 { Ok(None) } else { parse_v2(bytes) };
    }
    if opens(b"PROXY ") {
        return parse_v1(bytes);
    }
    Err(BadHeader("the connection doesn't begin with a header"))
}

fn parse_v1(bytes: &[u8]) -> Result<Option<(Header, usize)>, BadHeader> {
    let Some(end) = bytes.windows(2).take(V1_MAX).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < V1_MAX { Ok(None) } else { Err(BadHeader("a version 1 header of more than 107 bytes")) };
    };
    let line = bytes.get(..end).and_then(|line| std::str::from_utf8(line).ok());
    let line = line.ok_or(BadHeader("a version 1 header that isn't text"))?;
    let mut words = line.split(' ').skip(1);
    let header = match words.next() {
        Some("UNKNOWN") => Header::Local,
        Some(family @ ("TCP4" | "TCP6")) => {
            let header = v1_addresses(&mut words, family == "TCP4").ok_or(BadHeader("version 1 addresses that can't be read"))?;
            if words.next().is_some() {
                return Err(BadHeader("a version 1 header with too many words"));
            }
            header
        }
        _ => return Err(BadHeader("a version 1 family other than TCP4, TCP6 and UNKNOWN")),
    };
    Ok(Some((header, end + 2)))
}

fn v1_addresses<'a>(words: &mut impl Iterator<Item = &'a str>, v4: bool) -> Option<Header> {
    let (source, destination): (IpAddr, IpAddr) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let (source_port, destination_port) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    (source.is_ipv4() == v4 && destination.is_ipv4() == v4).then(|| Header::Proxied {
        source: SocketAddr::new(source, source_port),
        destination: SocketAddr::new(destination, destination_port),
    })
}

fn parse_v2(bytes: &[u8]) -> Result<Option<(Header, usize)>, BadHeader> {
    let &[version, family, high, low] = bytes.get(12..16).and_then(|fixed| fixed.try_into().ok()).unwrap_or(&[0; 4]);
    let length = 16 + usize::from(u16::from_be_bytes([high, low]));
    if version >> 4 != 2 {
        return Err(BadHeader("a version other than 1 and 2"));
    }
    if length > V2_MAX {
        return Err(BadHeader("a version 2 header of more than 4096 bytes"));
    }
    let Some(body) = bytes.get(16..length) else { return Ok(None) };
    let header = match (version & 0x0f, family) {
        (0, _) => Header::Local,
        (1, 0x11) => v2_addresses::<4>(body).ok_or(BadHeader("version 2 addresses that are too short"))?,
        (1, 0x21) => v2_addresses::<16>(body).ok_or(BadHeader("version 2 addresses that are too short"))?,
        (1, _) => Header::Local,
        _ => return Err(BadHeader("a version 2 command other than LOCAL and PROXY")),
    };
    Ok(Some((header, length)))
}

/// Source, destination, source port, destination port, each of `N` or 2 bytes.
fn v2_addresses<const N: usize>(body: &[u8]) -> Option<Header> {
    let address = |at: usize| -> Option<IpAddr> {
        let bytes = body.get(at..at + N)?;
        match N {
            4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
            _ => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
        }
    };
    let port = |at: usize| body.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes);
    Some(Header::Proxied {
        source: SocketAddr::new(address(0)?, port(2 * N)?),
        destination: SocketAddr::new(address(N)?, port(2 * N + 2)?),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn proxied(source: &str, destination: &str) -> Header {
        Header::Proxied { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
    }

    #[test]
    fn version_1_is_read_to_its_line_end_and_not_beyond() {
        let bytes = b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\nGET /";
        assert_eq!(parse(bytes), Ok(Some((proxied("192.0.2.1:56324", "198.51.100.2:443"), 45))));
        assert_eq!(parse(b"PROXY UNKNOWN ffff::1 ::2 1 2\r\n").unwrap().unwrap().0, Header::Local);
        let v6 = b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n";
        assert_eq!(parse(v6).unwrap().unwrap().0, proxied("[2001:db8::1]:1", "[2001:db8::2]:2"));
    }

    #[test]
    fn a_part_of_a_header_asks_for_more() {
        let whole = b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n";
        for end in 0..whole.len() {
            assert_eq!(parse(&whole[..end]), Ok(None), "{end} bytes");
        }
    }

    #[test]
    fn version_2_carries_both_families_and_skips_tlvs() {
        let mut bytes = V2_SIGNATURE.to_vec();
        bytes.extend([0x21, 0x11, 0, 15, 192, 0, 2, 1, 198, 51, 100, 2, 0xdc, 4, 1, 0xbb, 4, 0, 0]);
        for end in 0..bytes.len() {
            assert_eq!(parse(&bytes[..end]), Ok(None), "{end} bytes");
        }
        assert_eq!(parse(&bytes), Ok(Some((proxied("192.0.2.1:56324", "198.51.100.2:443"), bytes.len()))));
        bytes[12] = 0x20;
        assert_eq!(parse(&bytes).unwrap().unwrap().0, Header::Local);
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"PROXY TCP5 1 2 3 4\r\n",
            b"PROXY TCP4 ::1 ::2 1 2\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.2 1 70000\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2 3\r\n",
        ] {
            assert!(parse(bytes).is_err(), "{:?}", String::from_utf8_lossy(bytes));
        }
        assert!(parse(&[b'P'; 200]).is_err());
        let long: Vec<u8> = b"PROXY ".iter().copied().chain(std::iter::repeat_n(b'x', 200)).collect();
        assert!(parse(&long).is_err());
    }
}

//! The framing by itself: what it lets through, hyper must take; and it says the same however bytes are cut.

use rust_ingress_proxy::gate::wire::{Step, Wire};

/// Runs bytes through the wire as `server::io` does, in pieces of so many bytes. How much passed, how many heads, refused or not.
fn run(bytes: &[u8], piece: usize) -> (usize, usize, bool) {
    let mut wire = Wire::new(1000, 20);
    let (mut kept, mut passed, mut heads) = (Vec::new(), 0, 0);
    for piece in bytes.chunks(piece) {
        kept.extend_from_slice(piece);
        while !kept.is_empty() {
            let taken = match wire.advance(&kept) {
                Step::Pass(taken) => taken,
                Step::Head(taken) => {
                    heads += 1;
                    taken
                }
                Step::Partial => break,
                Step::Held => {
                    wire.resume();
                    continue;
                }
                Step::RefuseHead(_) | Step::RefuseBody(_) => return (passed, heads, true),
            };
            passed += taken;
            kept.drain(..taken);
        }
    }
    (passed, heads, false)
}

#[test]
fn cuts_make_no_difference() {
    let good = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nPOST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde\
        POST /y HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: a\r\n\r\n5;x\r\nabcde\r\n1\r\n\n\r\n0\r\nT: u\r\n\r\n\
        GET /u HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\n\r\nGET /z HTTP/1.0\r\n\r\n";
    for piece in 1..=good.len() {
        assert_eq!(run(good, piece), (good.len(), 5, false), "in pieces of {piece}");
    }
    for position in 0..good.len() {
        // A NUL anywhere outside of bodies is refused, and nothing of its head passes.
        let mut bad = good.to_vec();
        bad[position] = 0;
        let whole = run(&bad, bad.len());
        for piece in 1..=7 {
            let cut = run(&bad, piece);
            assert_eq!((cut.1, cut.2), (whole.1, whole.2), "NUL at {position}, in pieces of {piece}");
        }
    }
}

#[test]
fn what_passes_in_a_target_is_a_uri_too() {
    for byte in 1..=255u8 {
        for target in [[b'/', byte].as_slice(), &[b'/', b'?', byte]] {
            let head = [b"GET ", target, b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
            let passes = matches!(Wire::new(1000, 20).advance(&head), Step::Head(_));
            let uri = http::Uri::try_from(target).is_ok();
            assert!(uri || !passes, "{byte:#x}: hyper would answer by itself");
            assert!(!passes || byte.is_ascii_graphic(), "{byte:#x}");
        }
    }
}

#[test]
fn the_limits_are_exact() {
    let fields = |count: usize| [b"GET / HTTP/1.1\r\n".as_slice(), "X: y\r\n".repeat(count).as_bytes(), b"\r\n"].concat();
    assert!(matches!(Wire::new(1000, 20).advance(&fields(20)), Step::Head(_)));
    assert!(matches!(Wire::new(1000, 20).advance(&fields(21)), Step::RefuseHead(_)));
    let sized = |size: usize| format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(size - 23)).into_bytes();
    assert!(matches!(Wire::new(1000, 20).advance(&sized(1000)), Step::Head(1000)));
    assert!(matches!(Wire::new(1000, 20).advance(&sized(1001)), Step::RefuseHead(_)));
}

/// The status of a refused head that comes in two pieces.
fn refused_with(head: &[u8], first: usize) -> Option<u16> {
    let mut wire = Wire::new(1000, 20);
    let steps = [wire.advance(&head[..first]), wire.advance(head)];
    steps.into_iter().find_map(|step| match step {
        Step::RefuseHead(fault) => Some(fault.status.as_u16()),
        _ => None,
    })
}

#[test]
fn a_refusal_has_the_same_status_however_its_head_is_cut() {
    for (head, status) in [
        (&b"GET / HTTP/1.2\r\nHost: a\r\n\r\n"[..], 505),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET / HTTP/11\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTQ/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", 400),
    ] {
        for first in 0..=head.len() {
            assert_eq!(refused_with(head, first), Some(status), "{}, cut at {first}", String::from_utf8_lossy(head));
        }
    }
}

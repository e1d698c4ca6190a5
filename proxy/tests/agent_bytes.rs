//! The bytes that the node agent sends, as they were when the kernel last showed that they are the rules which `nft` makes of
//! the text. After a change on purpose: `conformance suite packets --record`, as root, which compares and then writes the file.

use rust_ingress_proxy::agent::nft::{digests, specimen};

// Lengths and kinds in netlink are in the machine's own byte order.
#[cfg(target_endian = "little")]
#[test]
fn the_bytes_are_those_that_were_compared_with_nft() {
    let (recorded, now) = (include_str!("agent_bytes.txt"), digests(&specimen()));
    let differ: Vec<&str> = now.lines().filter(|line| !recorded.lines().any(|recorded| recorded == *line)).collect();
    assert!(recorded == now, "these aren't as recorded:\n{}", differ.join("\n"));
}

//! What the two processes may not do: the child holds no capability, and can't look into its parent.
//!
//! The child could still read files that its user may read, a mounted service account token among them; its parent doesn't
//! tell it that there is one.

use std::io;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, remove_capability_from_bounding_set,
    set_capabilities, set_no_new_privs,
};

/// Gives up all capabilities for good. Called by the child before it has any thread but its first: capabilities are a
/// thread's, and later threads inherit them. Listening sockets are handed in, so not even CAP_NET_BIND_SERVICE is needed.
///
/// # Errors
/// The system refuses, or capabilities are left.
pub fn give_up_privileges() -> io::Result<()> {
    set_no_new_privs(true)?;
    clear_ambient_capability_set()?;
    for (_, capability) in CapabilitySet::all().iter_names() {
        // Needs CAP_SETPCAP, which a container seldom has. Without it the set stays, and no_new_privs keeps it useless.
        let _ = remove_capability_from_bounding_set(capability);
    }
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    let left = capabilities(None)?;
    match (left.effective | left.permitted | left.inheritable).is_empty() {
        true => Ok(()),
        false => Err(io::Error::other(format!("capabilities are left: {left:?}"))),
    }
}

/// Keeps processes of the same user, the child among them, out of this one's memory: it holds the token. No core dumps either.
pub(super) fn close_to_others() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

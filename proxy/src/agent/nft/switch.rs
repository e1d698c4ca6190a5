//! The switch of Services that go through the L7 proxy: an element that ends by itself, and is refreshed while the proxy lives.
//!
//! Nobody has to notice that the proxy is gone: where nobody refreshes it, the kernel takes new connections to the endpoints.

use std::io;
use std::time::Duration;

use rust_ingress_model::l4::ruleset::TABLE;
use rust_ingress_model::l4::{Family, SetName, Transport};

use super::batch::{Batch, CommitError};
use super::expression::value;
use super::kind::{Kind, number};
use crate::agent::netlink::{Netlink, flags};

/// How long the proxy is taken to be alive after it was last heard of.
pub const ALIVE: Duration = Duration::from_secs(1);

/// The way to the element, over a socket of its own: the agent's may be busy for longer than the element lives.
#[derive(Debug)]
pub struct Switch {
    netlink: Netlink,
}

impl Switch {
    /// Opens a socket; nothing is changed.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open() -> io::Result<Self> {
        Ok(Self { netlink: Netlink::open(0)? })
    }

    /// The port by which the kernel names us to those who hear of changes.
    pub fn port(&self) -> u32 {
        self.netlink.port()
    }

    /// The proxy is alive from now on for [`ALIVE`].
    ///
    /// # Errors
    /// What the kernel refused: as a rule, that there are no tables.
    pub fn refresh(&mut self) -> Result<(), CommitError> {
        // Only newer kernels take an element again as a longer life. Added first, because to delete what isn't there is refused.
        self.commit(&[Kind::NewElements, Kind::DeleteElements, Kind::NewElements])
    }

    /// The proxy is gone.
    ///
    /// # Errors
    /// As [`Self::refresh`].
    pub fn end(&mut self) -> Result<(), CommitError> {
        self.commit(&[Kind::NewElements, Kind::DeleteElements])
    }

    fn commit(&mut self, steps: &[Kind]) -> Result<(), CommitError> {
        let mut batch = Batch::new();
        for family in Family::BOTH {
            for kind in steps {
                add(&mut batch, family, *kind);
            }
        }
        batch.finish().commit(&mut self.netlink)
    }
}

fn add(batch: &mut Batch, family: Family, kind: Kind) {
    let set = SetName::L7Alive;
    let flags = if kind == Kind::NewElements { flags::CREATE } else { 0 };
    batch.add(kind, flags, number(family), format!("the element of {set} ({})", family.name()), |m| {
        m.text(1, TABLE);
        m.text(2, set);
        m.nest(3, |m| {
            m.nest(1, |m| {
                value(m, 1, &[Transport::Tcp.number()]);
                if kind == Kind::NewElements {
                    m.bytes(4, &u64::try_from(ALIVE.as_millis()).unwrap_or_default().to_be_bytes());
                }
            });
        });
    });
}

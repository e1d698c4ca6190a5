//! The cluster source: what the API server says, as changes of the World.

mod seen;

pub use seen::{Involved, Seen, SeenIngress};

//! The gate: what of a request's form is let in, before anything is decided about it.
//!
//! Two parts. [`wire`] follows HTTP/1 framing on the bytes before anything reads them, each head by [`request`]; [`head`] normalises and refuses after
//! parsing, for every version. What comes out is what is matched and what is forwarded. [`sent`] reads what it can of a refused
//! head, for the access log.

pub mod chunked;
mod class;
pub mod head;
pub mod path;
pub mod request;
pub mod sent;
pub mod wire;

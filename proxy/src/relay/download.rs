//! A response's body: what of it lies in the endpoint's buffer, written as the client gets it.

use std::io::Write;

use super::buffer::Buffer;
use crate::gate::chunked::{Chunked, Piece};

/// How a body comes, and what is left of it.
#[derive(Debug)]
pub(super) enum Download {
    /// Nothing is left.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked(Chunked),
    /// All until the connection ends.
    Close,
}

impl Download {
    /// A body of so many bytes.
    pub(super) fn length(length: u64) -> Self {
        if length == 0 { Self::None } else { Self::Length(length) }
    }

    /// Whether all of it was written.
    pub(super) fn ended(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Moves what is there of the body to `out`, in the framing that the client gets. How many bytes of data it was.
    ///
    /// # Errors
    /// What is wrong with the endpoint's framing.
    pub(super) fn take(&mut self, from: &mut Buffer, out: &mut Vec<u8>) -> Result<u64, &'static str> {
        let bytes = from.filled();
        match self {
            Self::None => Ok(0),
            Self::Length(left) => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                out.extend_from_slice(bytes.get(..length).unwrap_or_default());
                *left -= length as u64;
                if *left == 0 {
                    *self = Self::None;
                }
                from.consume(length);
                Ok(length as u64)
            }
            Self::Close => {
                let length = bytes.len();
                chunk(out, bytes);
                from.consume(length);
                Ok(length as u64)
            }
            Self::Chunked(chunked) => {
                let (mut data, mut at, mut ended) = (0, 0, false);
                while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty() && !ended) {
                    match chunked.piece(rest)? {
                        Piece::Frame(length) => at += length,
                        Piece::Data(length) => {
                            chunk(out, rest.get(..length).unwrap_or_default());
                            at += length;
                            data += length as u64;
                        }
                        Piece::End(length) => {
                            // Trailers stay here: a request that may have them back isn't plain.
                            at += length;
                            ended = true;
                        }
                    }
                }
                from.consume(at);
                if ended {
                    out.extend_from_slice(b"0\r\n\r\n");
                    *self = Self::None;
                }
                Ok(data)
            }
        }
    }

    /// The endpoint's connection has ended. Whether that is the body's end.
    pub(super) fn close(&mut self, out: &mut Vec<u8>) -> bool {
        let ends = matches!(self, Self::Close);
        if ends {
            out.extend_from_slice(b"0\r\n\r\n");
            *self = Self::None;
        }
        ends
    }
}

/// Writes a chunk; an empty one would be the last.
fn chunk(out: &mut Vec<u8>, data: &[u8]) {
    if !data.is_empty() {
        // Writing to a Vec can't fail.
        let _ = write!(out, "{:x}\r\n", data.len());
        out.extend_from_slice(data);
        out.extend_from_slice(b"\r\n");
    }
}

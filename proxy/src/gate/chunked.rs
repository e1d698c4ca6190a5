//! Chunked framing, strictly: every line ends in CRLF, sizes are plain hexadecimal, extensions and trailers are bounded.
//!
//! Called by [`crate::gate::wire`] with the bytes of a request's body as they come, and by the relay with a response's; it lets
//! through what is well formed.

use crate::gate::class::{TOKEN, VALUE, class_of};

/// Digits of a chunk size: 60 bits.
const SIZE_DIGITS_MAX: u8 = 15;
/// Bytes of all chunk extensions of one body, and of its trailer section.
const EXTRA_MAX: u32 = 16 << 10;

/// What comes next in a chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A digit of the size, after so many.
    Size(u8),
    /// The extension, up to its CR.
    Extension,
    /// The LF of the size line.
    SizeLf,
    /// Data.
    Data,
    /// The CR behind data.
    DataCr,
    /// The LF behind data.
    DataLf,
    /// The first byte of a trailer line, or the CR of the empty line.
    Trailer,
    /// A trailer's name, up to its colon.
    Name,
    /// A trailer's value, up to its CR.
    Value,
    /// The LF of a trailer line.
    ValueLf,
    /// The last LF.
    EndLf,
}

/// What comes next of a chunked body, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// Framing, extensions or trailers.
    Frame(usize),
    /// Data.
    Data(usize),
    /// The last of it.
    End(usize),
}

/// The framing of one chunked body.
#[derive(Debug)]
pub struct Chunked {
    state: State,
    /// Blanks may stand behind a size: some endpoints pad it, and only they speak behind them on their connection.
    blanks: bool,
    /// The chunk's size, then what is left of it.
    left: u64,
    /// Bytes of extensions and trailers so far.
    extra: u32,
}

impl Default for Chunked {
    fn default() -> Self {
        Self { state: State::Size(0), blanks: false, left: 0, extra: 0 }
    }
}

impl Chunked {
    /// The framing of a body that an endpoint sends.
    pub fn of_endpoint() -> Self {
        Self { blanks: true, ..Self::default() }
    }

    /// How many of the bytes belong to the body, and whether it ends with them.
    ///
    /// # Errors
    /// What is wrong with the framing.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<(usize, bool), &'static str> {
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
            match self.piece(rest)? {
                Piece::Frame(length) | Piece::Data(length) => taken += length,
                Piece::End(length) => return Ok((taken + length, true)),
            }
        }
        Ok((taken, false))
    }

    /// What stands at the beginning of the bytes that come next.
    ///
    /// # Errors
    /// What is wrong with the framing.
    pub fn piece(&mut self, bytes: &[u8]) -> Result<Piece, &'static str> {
        if self.state == State::Data {
            let data = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            self.left -= data as u64;
            if self.left == 0 {
                self.state = State::DataCr;
            }
            return Ok(Piece::Data(data));
        }
        for (at, byte) in bytes.iter().enumerate() {
            if self.state == State::EndLf {
                return if *byte == b'\n' { Ok(Piece::End(at + 1)) } else { Err("a chunked body doesn't end in CRLF") };
            }
            self.state = self.step(*byte)?;
            if self.state == State::Data {
                return Ok(Piece::Frame(at + 1));
            }
        }
        Ok(Piece::Frame(bytes.len()))
    }

    fn step(&mut self, byte: u8) -> Result<State, &'static str> {
        Ok(match (self.state, byte) {
            (State::Size(digits), byte) if byte.is_ascii_hexdigit() => {
                if digits == SIZE_DIGITS_MAX {
                    return Err("a chunk's size is too large");
                }
                self.left = self.left << 4 | u64::from(hex(byte));
                State::Size(digits + 1)
            }
            (State::Size(1..), b'\r') | (State::Extension, b'\r') => State::SizeLf,
            (State::Size(1..), b';') => State::Extension,
            (State::Size(1..), b' ' | b'\t') if self.blanks => State::Extension,
            (State::Size(_), _) => return Err("a chunk's size isn't a hexadecimal number that CRLF or ; follows"),
            (State::Extension, byte) if class_of(byte) & VALUE != 0 => self.extra(State::Extension)?,
            (State::Extension, _) => return Err("a chunk extension has a control character or ends in a bare line feed"),
            (State::SizeLf, b'\n') if self.left == 0 => State::Trailer,
            (State::SizeLf, b'\n') => State::Data,
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size(0),
            (State::DataCr | State::DataLf, _) => return Err("a chunk's data isn't followed by CRLF"),
            (State::Trailer, b'\r') => State::EndLf,
            (State::Trailer | State::Name, byte) if class_of(byte) & TOKEN != 0 => self.extra(State::Name)?,
            (State::Name, b':') => State::Value,
            (State::Trailer | State::Name, _) => {
                return Err("a trailer's name is empty or has a character that isn't allowed in it");
            }
            (State::Value, b'\r') => State::ValueLf,
            (State::Value, byte) if class_of(byte) & VALUE != 0 => self.extra(State::Value)?,
            (State::Value, _) => return Err("a trailer's value has a control character or ends in a bare line feed"),
            (State::ValueLf, b'\n') => State::Trailer,
            (State::SizeLf | State::ValueLf | State::Data | State::EndLf, _) => {
                return Err("a carriage return stands alone in chunked framing");
            }
        })
    }

    fn extra(&mut self, next: State) -> Result<State, &'static str> {
        self.extra += 1;
        if self.extra > EXTRA_MAX { Err("chunk extensions or trailers are larger than the limit") } else { Ok(next) }
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.wrapping_sub(b'A').wrapping_add(10),
    }
}

//! Classes of bytes, as a table: what may stand in a method, a name, a target, a value. For [`crate::gate::wire`] and its parts.

/// A character of a token (RFC 9110 §5.6.2): methods and field names.
pub(super) const TOKEN: u8 = 1;
/// A character of a request target that `http::Uri` takes too; not `#`, and nothing of 8 bits.
pub(super) const TARGET: u8 = 2;
/// A character of a field value (RFC 9110 §5.5), with obs-text.
pub(super) const VALUE: u8 = 4;

/// The classes of a byte, as bits.
pub(super) fn class_of(byte: u8) -> u8 {
    CLASS.get(usize::from(byte)).copied().unwrap_or(0)
}

const CLASS: [u8; 256] = table();

const fn table() -> [u8; 256] {
    let mut table = [0; 256];
    let mut rest: &mut [u8] = &mut table;
    let mut byte = 0_u8;
    while let Some((slot, tail)) = rest.split_first_mut() {
        *slot = classes(byte);
        byte = byte.wrapping_add(1);
        rest = tail;
    }
    table
}

const fn classes(byte: u8) -> u8 {
    let sign =
        matches!(byte, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~');
    let no_target = matches!(byte, b'#' | b'<' | b'>' | b'`' | b'^' | b'\\' | b'"' | b'{' | b'}');
    let token = byte.is_ascii_alphanumeric() || sign;
    let target = byte.is_ascii_graphic() && !no_target;
    let value = byte == b'\t' || (byte >= 0x20 && byte != 0x7f);
    (if token { TOKEN } else { 0 }) | (if target { TARGET } else { 0 }) | (if value { VALUE } else { 0 })
}

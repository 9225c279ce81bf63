//! Numbers of one to five bytes: seven bits each, the lowest first, the highest bit says that more follow.

/// Appends a number.
pub(super) fn write(out: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// How many bytes [`write`] takes.
pub(super) fn len(number: u32) -> usize {
    match number {
        0..=0x7f => 1,
        0x80..=0x3fff => 2,
        0x4000..=0x1f_ffff => 3,
        0x20_0000..=0xfff_ffff => 4,
        _ => 5,
    }
}

/// Reads a number off the front; `None` where there is none.
pub(super) fn read(bytes: &mut &[u8]) -> Option<u32> {
    let mut number = 0u32;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        let bits = u32::from(byte & 0x7f);
        number |= bits.checked_shl(7 * index as u32).filter(|shifted| shifted >> (7 * index as u32) == bits)?;
        if byte & 0x80 == 0 {
            *bytes = &bytes[index + 1..];
            return Some(number);
        }
    }
    None
}

//! Bytes of a pickle, taken from front to back, and their names in refusals.

use super::PLAIN_DATA;
use base::{Error, Result};

/// The file and how far it has been read.
pub struct Input<'a> {
    /// The file in messages.
    what: &'a str,
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Input<'a> {
    /// All of `bytes`, the content of the file `what`.
    pub fn new(what: &'a str, bytes: &'a [u8]) -> Self {
        Self {
            what,
            bytes,
            position: 0,
        }
    }

    /// Bytes of the whole file.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The next `length` bytes.
    pub fn take(&mut self, length: u64) -> Result<&'a [u8]> {
        let rest = &self.bytes[self.position..];
        let taken = usize::try_from(length).ok().and_then(|n| rest.get(..n));
        let taken = taken.ok_or_else(|| self.refused("the end of the file", "a whole pickle"))?;
        self.position += taken.len();
        Ok(taken)
    }

    /// The next `N` bytes.
    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N as u64)?);
        Ok(bytes)
    }

    /// A little-endian unsigned integer of `width` bytes, at most 8.
    pub fn length(&mut self, width: usize) -> Result<u64> {
        let bytes = self.take(width as u64)?;
        Ok((bytes.iter().rev()).fold(0, |value, &byte| (value << 8) | u64::from(byte)))
    }

    /// A little-endian signed integer after its length, a byte.
    pub fn long(&mut self) -> Result<i64> {
        let length = self.length(1)?;
        let bytes = self.take(length)?;
        if bytes.len() > 8 {
            return Err(self.refused("an integer of more than 64 bits", PLAIN_DATA));
        }
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut extended = [if negative { 0xff } else { 0 }; 8];
        extended[..bytes.len()].copy_from_slice(bytes);
        Ok(i64::from_le_bytes(extended))
    }

    /// The bytes up to the end of the line.
    pub fn line(&mut self) -> Result<&'a [u8]> {
        let rest = &self.bytes[self.position..];
        let end = rest.iter().position(|&byte| byte == b'\n');
        let end = end.ok_or_else(|| self.refused("the end of the file", "a whole line"))?;
        self.position += end + 1;
        Ok(&rest[..end])
    }

    /// A refusal of what stands before the current position.
    pub fn refused(&self, found: &str, expected: &str) -> Error {
        let what = format!("{}, before byte {}", self.what, self.position);
        Error::data(what, found, expected)
    }
}

/// The beginning of a name, for a message.
pub fn printable(name: &[u8]) -> String {
    let start = name.iter().take(40).map(|&byte| char::from(byte));
    start
        .map(|c| if c.is_ascii_graphic() { c } else { '?' })
        .collect()
}

/// Name of an opcode that is not executed.
pub fn opcode_name(opcode: u8) -> String {
    let name = match opcode {
        b'i' => "INST",
        b'o' => "OBJ",
        b'P' | b'Q' => "PERSID",
        b'F' | b'G' => "FLOAT",
        0x81 | 0x92 => "NEWOBJ",
        0x82..=0x84 => "EXT",
        0x8b => "LONG4",
        0x8f..=0x91 => "SET",
        0x96 => "BYTEARRAY8",
        _ => "unknown",
    };
    format!("the opcode {opcode:#04x} ({name})")
}

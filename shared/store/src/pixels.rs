//! Pixels as they stand in a row: bytes come in, the same bytes with their CRC-32 go out, so that it is
//! computed once on their way from one store to another.

use std::ops::Deref;

/// The bytes of an image, [`data::PIXELS`] in a store, with the CRC-32 of zip and zlib.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pixels {
    bytes: Box<[u8]>,
    crc32: u32,
}

impl Pixels {
    /// Copies bytes that should have this CRC-32; otherwise the one they have.
    pub(super) fn checked(bytes: &[u8], crc32: u32) -> Result<Self, u32> {
        match crc32fast::hash(bytes) {
            same if same == crc32 => Ok(Self {
                bytes: bytes.into(),
                crc32,
            }),
            other => Err(other),
        }
    }

    pub(super) fn crc32(&self) -> u32 {
        self.crc32
    }
}

impl<B: Into<Box<[u8]>>> From<B> for Pixels {
    fn from(bytes: B) -> Self {
        let bytes = bytes.into();
        let crc32 = crc32fast::hash(&bytes);
        Self { bytes, crc32 }
    }
}

impl Deref for Pixels {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

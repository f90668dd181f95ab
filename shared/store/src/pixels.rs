//! Pixels with their CRC-32, computed once on the way from one store to another.

use std::ops::Deref;

/// The bytes of an image, [`data::IMAGE_BYTES`] in a store, with the CRC-32 of zip and zlib.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pixels {
    bytes: Box<[u8]>,
    crc32: u32,
}

impl Pixels {
    /// Copies bytes that should have this CRC-32; returns the actual one if they do not.
    pub(super) fn checked(bytes: &[u8], crc32: u32) -> Result<Self, u32> {
        let actual = crc32fast::hash(bytes);
        if actual == crc32 {
            Ok(Self {
                bytes: bytes.into(),
                crc32,
            })
        } else {
            Err(actual)
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

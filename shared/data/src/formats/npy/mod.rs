//! NumPy array file (`.npy`), versions 1.0 and 2.0: a strict reader of bytes and integers in C order, for images and
//! labels (<https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>).
//!
//! A view of the file's bytes: nothing is allocated for what a header claims. What NumPy itself would accept and an
//! image set never has (Fortran order, other types, bytes after the array) is refused.

mod header;
#[cfg(test)]
mod tests;

use std::{fmt, path::Path};

use crate::{IMAGE_BYTES, IMAGE_SIDE};
use base::{Error, Result, files};
use header::Header;

/// The bytes that a file begins with.
const MAGIC: &[u8] = b"\x93NUMPY";

/// The longest header, NumPy's own limit.
const MAX_HEADER: usize = 10_000;

/// Type of an array's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElementType {
    /// `|u1`.
    U8,
    /// `<i4`.
    I32,
    /// `<i8`.
    I64,
}

impl ElementType {
    /// Every type that is read.
    const ALL: [Self; 3] = [Self::U8, Self::I32, Self::I64];

    /// The name in headers.
    fn name(self) -> &'static str {
        match self {
            Self::U8 => "|u1",
            Self::I32 => "<i4",
            Self::I64 => "<i8",
        }
    }

    /// The type of this name; the byte order of a byte means nothing.
    fn named(name: &str) -> Option<Self> {
        let name = if name == "<u1" { "|u1" } else { name };
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::I32 => 4,
            Self::I64 => 8,
        }
    }
}

/// The bytes of a file that is to hold an array.
///
/// # Errors
/// [`Error::Io`] when it cannot be read, [`Error::Data`] for a folder, a named pipe or a device.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let found = std::fs::metadata(path).map_err(Error::io("read", path))?;
    if !(found.is_file() || found.is_dir()) {
        return Err(Error::data(
            path.display(),
            "a named pipe or a device",
            "a file",
        ));
    }
    files::read(path)
}

/// An array in a file's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Array<'a> {
    /// The file in messages.
    what: &'a str,
    element: ElementType,
    shape: Vec<usize>,
    data: &'a [u8],
}

impl<'a> Array<'a> {
    /// The array of a whole file; `what` is the file in messages.
    ///
    /// # Errors
    /// [`Error::Data`] when it is none, or not one of the supported types in C order, or shorter or longer than its
    /// shape says.
    pub fn parse(what: &'a str, bytes: &'a [u8]) -> Result<Self> {
        let refused = |found: String, expected: &str| Error::data(what, found, expected);
        let (text, data) = split(bytes).map_err(|(found, expected)| refused(found, expected))?;
        let header = Header::parse(text).map_err(|found| {
            refused(
                format!("{found} in the header"),
                "a header with descr, fortran_order and shape, as NumPy writes it",
            )
        })?;
        let Some(element) = ElementType::named(header.descr) else {
            let found = format!("elements of type {:.20}", header.descr);
            let names = ElementType::ALL.map(ElementType::name).join(", ");
            return Err(refused(found, &format!("one of {names}")));
        };
        if header.fortran_order {
            return Err(refused("Fortran order".into(), "C order"));
        }
        let shape = Shape(&header.shape);
        let Some(length) = shape.bytes(element.size()) else {
            return Err(refused(
                format!("the shape {shape}"),
                "a number of bytes that 64 bits can count",
            ));
        };
        if data.len() != length {
            return Err(refused(
                format!("{} bytes after the header", data.len()),
                &format!("{length} of the shape {shape} of {}", element.name()),
            ));
        }
        Ok(Self {
            what,
            element,
            shape: header.shape,
            data,
        })
    }

    /// The dimensions, slowest first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The type of the elements.
    pub fn element(&self) -> ElementType {
        self.element
    }

    /// The elements' bytes, row-major.
    pub fn data(&self) -> &'a [u8] {
        self.data
    }

    /// The pixels of N images, `[N,32,32,3]` bytes: interleaved R, G, B, unlike those of a data set
    /// ([`planar`](crate::planar)).
    ///
    /// # Errors
    /// [`Error::Data`] for another shape or type, and without images.
    pub fn images(&self) -> Result<&'a [u8]> {
        let is_image = |shape: &[usize]| shape == [IMAGE_SIDE, IMAGE_SIDE, 3];
        match self.shape.split_first() {
            Some((&count, image))
                if count > 0 && is_image(image) && self.element == ElementType::U8 =>
            {
                debug_assert_eq!(self.data.len(), count * IMAGE_BYTES);
                Ok(self.data)
            }
            _ => Err(self.other_than("shape (N, 32, 32, 3) of |u1, N at least 1")),
        }
    }

    /// N labels, `[N]` of any of the types, below `classes`.
    ///
    /// # Errors
    /// [`Error::Data`] for another shape, and for a label out of range.
    pub fn labels(&self, classes: usize) -> Result<Vec<u8>> {
        if self.shape.len() != 1 {
            return Err(self.other_than("shape (N,) of integers"));
        }
        let elements = self.data.chunks_exact(self.element.size()).enumerate();
        elements
            .map(|(entry, bytes)| {
                let label = integer(bytes);
                match u8::try_from(label) {
                    Ok(label) if usize::from(label) < classes => Ok(label),
                    _ => Err(Error::data(
                        format!("{}, entry {entry}", self.what),
                        format!("label {label}"),
                        format!("0 to {}", classes.saturating_sub(1)),
                    )),
                }
            })
            .collect()
    }

    fn other_than(&self, expected: &str) -> Error {
        let found = format!("shape {} of {}", Shape(&self.shape), self.element.name());
        Error::data(self.what, found, expected)
    }
}

/// A little-endian integer: unsigned in one byte, else signed.
fn integer(bytes: &[u8]) -> i64 {
    match *bytes {
        [byte] => byte.into(),
        [a, b, c, d] => i32::from_le_bytes([a, b, c, d]).into(),
        _ => {
            let mut wide = [0; 8];
            wide.copy_from_slice(bytes);
            i64::from_le_bytes(wide)
        }
    }
}

/// The header's text and the bytes after it; or what was found and what was expected.
fn split(bytes: &[u8]) -> std::result::Result<(&str, &[u8]), (String, &'static str)> {
    const WHOLE: &str = "a whole NumPy array (.npy)";
    let short = || ("the end of the file in the header".to_string(), WHOLE);
    let Some(rest) = bytes.strip_prefix(MAGIC) else {
        return Err(("other first bytes than \\x93NUMPY".into(), WHOLE));
    };
    let ([major, minor], rest) = rest.split_first_chunk().ok_or_else(short)?;
    let (length, rest) = match (major, minor) {
        (1, 0) => {
            let (length, rest) = rest.split_first_chunk().ok_or_else(short)?;
            (usize::from(u16::from_le_bytes(*length)), rest)
        }
        (2, 0) => {
            let (length, rest) = rest.split_first_chunk().ok_or_else(short)?;
            (u32::from_le_bytes(*length) as usize, rest)
        }
        _ => return Err((format!("version {major}.{minor}"), "version 1.0 or 2.0")),
    };
    if length > MAX_HEADER {
        return Err((
            format!("a header of {length} bytes"),
            "a header of at most 10000 bytes",
        ));
    }
    let (text, data) = rest.split_at_checked(length).ok_or_else(short)?;
    match std::str::from_utf8(text) {
        Ok(text) if text.is_ascii() => Ok((text, data)),
        _ => Err(("a header that is not ASCII".into(), WHOLE)),
    }
}

/// A shape, written as Python writes it.
struct Shape<'a>(&'a [usize]);

impl Shape<'_> {
    /// Bytes of all elements of `size` bytes each, if they can be counted; lengths of 0 hide no others.
    fn bytes(&self, size: usize) -> Option<usize> {
        let product = |least: usize| {
            let mut lengths = self.0.iter().map(|length| *length.max(&least));
            lengths.try_fold(size, |product, length| product.checked_mul(length))
        };
        product(1)?;
        product(0)
    }
}

impl fmt::Display for Shape<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.0 {
            [one] => write!(f, "({one},)"),
            many => {
                let lengths: Vec<String> = many.iter().map(usize::to_string).collect();
                write!(f, "({})", lengths.join(", "))
            }
        }
    }
}

//! Values of a pickle, in an arena.

use std::borrow::Cow;

/// Index of a value in the arena.
pub type Id = usize;

/// A value; containers hold the indices of their items. Strings of binary protocols are slices of the file.
#[derive(Debug)]
pub enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    Bytes(Cow<'a, [u8]>),
    Text(Cow<'a, str>),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Callable(Callable),
    /// The NumPy dtype of bytes, `u1`.
    ByteType,
    /// A NumPy array of bytes; `None` until its state is set.
    Array(Option<ByteArray>),
}

impl Value<'_> {
    /// The bytes of either kind of string: Python 2 wrote text as bytes.
    pub fn string(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Text(text) => Some(text.as_bytes()),
            _ => None,
        }
    }
}

/// A two-dimensional array of bytes in C order; `data` is a [`Value::Bytes`] of as many bytes as the shape has.
#[derive(Clone, Copy, Debug)]
pub struct ByteArray {
    pub shape: [usize; 2],
    pub data: Id,
}

/// The callables that a pickle may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callable {
    /// Makes an empty array, whose state is set afterwards.
    Reconstruct,
    /// The array type, an argument of [`Self::Reconstruct`].
    Ndarray,
    /// Makes a dtype.
    Dtype,
    /// Makes bytes of text: how Python 3 writes bytes in protocols 0 to 2.
    Encode,
}

impl Callable {
    /// The callable of this name, if it is known. NumPy 2 has renamed its `core`.
    pub fn named(module: &[u8], name: &[u8]) -> Option<Self> {
        match (module, name) {
            (b"numpy.core.multiarray" | b"numpy._core.multiarray", b"_reconstruct") => {
                Some(Self::Reconstruct)
            }
            (b"numpy", b"ndarray") => Some(Self::Ndarray),
            (b"numpy", b"dtype") => Some(Self::Dtype),
            (b"_codecs", b"encode") => Some(Self::Encode),
            _ => None,
        }
    }
}

/// A pickle that was read whole.
#[derive(Debug)]
pub struct Pickle<'a> {
    pub values: Vec<Value<'a>>,
    pub root: Id,
}

impl Pickle<'_> {
    /// The value under a key of the dict that the pickle holds; of a repeated key the last, as in Python.
    fn get(&self, key: &str) -> Option<&Value<'_>> {
        let Value::Dict(entries) = &self.values[self.root] else {
            return None;
        };
        let found = entries
            .iter()
            .rfind(|(k, _)| self.values[*k].string() == Some(key.as_bytes()));
        found.map(|(_, value)| &self.values[*value])
    }

    /// Shape and bytes of the array under a key.
    pub fn array(&self, key: &str) -> Option<([usize; 2], &[u8])> {
        match self.get(key)? {
            Value::Array(Some(array)) => Some((array.shape, self.values[array.data].string()?)),
            _ => None,
        }
    }

    /// Items of the list under a key.
    pub fn list(&self, key: &str) -> Option<Vec<&Value<'_>>> {
        match self.get(key)? {
            Value::List(items) => Some(items.iter().map(|&item| &self.values[item]).collect()),
            _ => None,
        }
    }
}

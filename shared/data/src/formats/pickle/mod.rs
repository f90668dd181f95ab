//! CIFAR Python version: pickled dicts with a NumPy array of pixels and a list of labels, as torchvision downloads
//! them (<https://www.cs.toronto.edu/~kriz/cifar.html>). Nothing in a pickle is run.

mod input;
mod machine;
mod numpy;
#[cfg(test)]
mod tests;
mod text;
mod value;

use super::{BatchFormat, image};
use crate::{IMAGE_BYTES, Image};
use base::{Error, Result};
use value::{Pickle, Value};

/// Keys of the pickled dicts.
#[derive(Debug)]
pub struct PickledBatch {
    /// Key of a batch's list of labels.
    pub labels: &'static str,
    /// Key of the list of class names in the names file.
    pub names: &'static str,
}

/// What is read, for the refusal of everything else.
const PLAIN_DATA: &str =
    "only dicts, lists, tuples, integers, strings and NumPy arrays of dtype uint8";

/// Key of a batch's pixels, `[images, 3072]` bytes.
const PIXELS: &str = "data";

impl BatchFormat for PickledBatch {
    fn images(&self, what: &str, bytes: &[u8], classes: usize) -> Result<Vec<Image>> {
        let pickle = machine::read(what, bytes)?;
        let Some(([images, IMAGE_BYTES], pixels)) = pickle.array(PIXELS) else {
            let found = format!("no array of 3072 columns under the key '{PIXELS}'");
            return Err(Error::data(what, found, "the pixels of the images"));
        };
        let labels = list(what, &pickle, self.labels)?;
        if labels.len() != images || images == 0 {
            let found = format!("{images} images with {} labels", labels.len());
            return Err(Error::data(what, found, "a label for each image"));
        }
        (pixels.chunks_exact(IMAGE_BYTES).zip(labels).enumerate())
            .map(|(record, (pixels, label))| match label {
                Value::Int(label) => image(what, record, *label, pixels, classes),
                _ => Err(Error::data(
                    format!("{what}, record {record}"),
                    "a label that is no integer",
                    format!("0 to {}", classes - 1),
                )),
            })
            .collect()
    }

    fn class_names(&self, what: &str, bytes: &[u8]) -> Result<Vec<String>> {
        let pickle = machine::read(what, bytes)?;
        (list(what, &pickle, self.names)?.into_iter())
            .map(|name| {
                let name = name
                    .string()
                    .and_then(|name| std::str::from_utf8(name).ok());
                name.map(String::from)
                    .ok_or_else(|| Error::data(what, "a class name that is no text", "text"))
            })
            .collect()
    }

    #[cfg(test)]
    fn encode(&self, images: &[Image]) -> Vec<u8> {
        tests::encode(self.labels, images)
    }

    #[cfg(test)]
    fn encode_names(&self, names: &[String]) -> Vec<u8> {
        tests::encode_names(self.names, names)
    }
}

/// Items of the list under `key`.
fn list<'p>(what: &str, pickle: &'p Pickle<'p>, key: &str) -> Result<Vec<&'p Value<'p>>> {
    (pickle.list(key))
        .ok_or_else(|| Error::data(what, format!("no list under the key '{key}'"), "one"))
}

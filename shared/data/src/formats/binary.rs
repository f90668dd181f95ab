//! CIFAR binary version: fixed-size records of label bytes and 3072 pixel bytes
//! (<https://www.cs.toronto.edu/~kriz/cifar.html>).

use super::{BatchFormat, image};
use crate::{IMAGE_BYTES, Image, class_names};
use base::{Error, Result};

/// A record's label bytes.
#[derive(Debug)]
pub struct Binary {
    /// How many label bytes precede the pixels.
    pub label_bytes: usize,
    /// Which of them is the label.
    pub label: usize,
}

impl BatchFormat for Binary {
    fn images(&self, what: &str, bytes: &[u8], classes: usize) -> Result<Vec<Image>> {
        let record_bytes = self.label_bytes + IMAGE_BYTES;
        if bytes.is_empty() || !bytes.len().is_multiple_of(record_bytes) {
            return Err(Error::data(
                what,
                format!("{} bytes", bytes.len()),
                format!("a multiple of {record_bytes}, and not 0"),
            ));
        }
        (bytes.chunks_exact(record_bytes).enumerate())
            .map(|(number, record)| {
                let (labels, pixels) = record.split_at(self.label_bytes);
                image(what, number, labels[self.label].into(), pixels, classes)
            })
            .collect()
    }

    fn class_names(&self, _: &str, bytes: &[u8]) -> Result<Vec<String>> {
        Ok(class_names::from_lines(&String::from_utf8_lossy(bytes)))
    }

    #[cfg(test)]
    fn encode(&self, images: &[Image]) -> Vec<u8> {
        let records = images.iter().map(|image| {
            let mut record = vec![199; self.label_bytes];
            record[self.label] = image.label;
            record.extend(&image.pixels);
            record
        });
        records.collect::<Vec<_>>().concat()
    }

    #[cfg(test)]
    fn encode_names(&self, names: &[String]) -> Vec<u8> {
        format!("{}\n\n", names.join("\n")).into_bytes()
    }
}

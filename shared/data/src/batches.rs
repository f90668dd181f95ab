//! The official binary format: named batch files come in, images in their order go out.
//!
//! A batch is a row of records of one label byte and 3072 pixel bytes
//! (<https://www.cs.toronto.edu/~kriz/cifar.html>).

use std::collections::BTreeMap;

use super::{
    CLASSES, IMAGE_BYTES, Image, check_class_names,
    classes::{self},
    source::RawDataset,
};
use base::{Error, Result};

const RECORD: usize = 1 + IMAGE_BYTES;

/// Which batch a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Batch {
    /// `data_batch_N.bin`, N from 1.
    Train(u32),
    /// `test_batch.bin`.
    Test,
}

impl Batch {
    /// The batch of this file name, if it is one.
    pub fn of(name: &str) -> Option<Self> {
        if name == "test_batch.bin" {
            return Some(Self::Test);
        }
        let number = name.strip_prefix("data_batch_")?.strip_suffix(".bin")?;
        let digits = number.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| number.parse().ok().map(Self::Train))?
    }
}

/// Batches on their way in: each is checked as it is added, the set when it is finished.
#[derive(Default)]
pub struct Batches {
    batches: BTreeMap<Batch, Vec<Image>>,
    /// The classes, where a names file says them.
    names: Option<Vec<String>>,
}

impl Batches {
    /// Adds one file; `what` names it in messages.
    ///
    /// # Errors
    /// [`Error::Data`] when the batch came before, is not whole records or holds a wrong label.
    pub fn add(&mut self, batch: Batch, what: &str, bytes: &[u8]) -> Result<()> {
        if self.batches.insert(batch, records(what, bytes)?).is_some() {
            return Err(Error::data(what, "the same batch twice", "each batch once"));
        }
        Ok(())
    }

    /// Takes the classes' names from a names file; `what` names it in messages.
    ///
    /// # Errors
    /// [`Error::Data`] when it does not name every class.
    pub fn add_names(&mut self, what: &str, bytes: &[u8]) -> Result<()> {
        let names = classes::parse(&String::from_utf8_lossy(bytes));
        check_class_names(&names).map_err(|found| {
            Error::data(what, found, "a name for each of 10 classes, one a line")
        })?;
        self.names = Some(names);
        Ok(())
    }

    /// The images of `data_batch_1`, 2, ... and those of `test_batch`, numbered from 0 each;
    /// `what` names the whole in messages.
    ///
    /// # Errors
    /// [`Error::Data`] when a batch is missing.
    pub fn finish(mut self, what: &str) -> Result<RawDataset> {
        let test = self.batches.remove(&Batch::Test);
        let mut train = Vec::new();
        for (number, (batch, pictures)) in (1..).zip(self.batches) {
            if batch != Batch::Train(number) {
                let found = format!("no data_batch_{number}.bin before a later one");
                return Err(Error::data(what, found, "numbers from 1 without a gap"));
            }
            train.extend(pictures);
        }
        if train.is_empty() {
            return Err(Error::data(
                what,
                "no data_batch_*.bin",
                "at least data_batch_1.bin",
            ));
        }
        let mut test =
            test.ok_or_else(|| Error::data(what, "no test_batch.bin", "the test images in it"))?;
        number(&mut train);
        number(&mut test);
        let classes = self.names.unwrap_or_else(classes::official);
        Ok(RawDataset {
            train,
            test,
            classes,
        })
    }
}

/// Gives each image its position as `source_index`.
pub fn number(pictures: &mut [Image]) {
    for (index, picture) in (0..).zip(pictures) {
        picture.source_index = index;
    }
}

fn records(what: &str, bytes: &[u8]) -> Result<Vec<Image>> {
    if bytes.is_empty() || !bytes.len().is_multiple_of(RECORD) {
        let found = format!("{} bytes", bytes.len());
        return Err(Error::data(what, found, "a multiple of 3073, and not 0"));
    }
    (bytes.chunks_exact(RECORD).enumerate())
        .map(|(record, bytes)| {
            let (label, pixels) = (bytes[0], &bytes[1..]);
            if usize::from(label) >= CLASSES {
                let what = format!("{what}, record {record}");
                return Err(Error::data(what, format!("label {label}"), "0 to 9"));
            }
            Ok(Image {
                source_index: 0,
                label,
                pixels: pixels.into(),
            })
        })
        .collect()
}

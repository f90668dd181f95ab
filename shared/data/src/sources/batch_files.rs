//! Batch files of a published data set: recognized by name, decoded one by one, assembled in order.

use std::collections::BTreeMap;

use super::RawDataset;
use crate::{DATASETS, DatasetSpec, Image, PublishedForm, check_class_names};
use base::{Error, Result};

/// What a file of a published form contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileRole {
    /// A training batch, by its number from 1.
    Train(u32),
    /// The test batch.
    Test,
    /// The class names.
    Names,
}

/// A data set and the form that its files have.
#[derive(Clone, Copy, Debug)]
pub struct Published {
    pub spec: &'static DatasetSpec,
    pub form: &'static PublishedForm,
}

impl Published {
    /// All forms of all data sets.
    pub fn all() -> impl Iterator<Item = Self> {
        let forms = |spec: &'static DatasetSpec| spec.forms.iter().map(move |form| (spec, form));
        (DATASETS.iter().flat_map(forms)).map(|(spec, form)| Self { spec, form })
    }

    /// The role of a file of this name, if the form has such a file.
    pub fn role(&self, name: &str) -> Option<FileRole> {
        let form = self.form;
        if name == form.names {
            return Some(FileRole::Names);
        }
        if name == form.test {
            return Some(FileRole::Test);
        }
        let Some((before, after)) = form.train.split_once('*') else {
            return (name == form.train).then_some(FileRole::Train(1));
        };
        let number = name.strip_prefix(before)?.strip_suffix(after)?;
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        number.parse().ok().map(FileRole::Train)
    }

    /// File name of a training batch.
    fn train_name(&self, number: u32) -> String {
        self.form.train.replace('*', &number.to_string())
    }
}

/// The batches read so far. Each is checked when it is added, the set when it is finished.
pub struct BatchFiles {
    published: Published,
    batches: BTreeMap<FileRole, Vec<Image>>,
    class_names: Option<Vec<String>>,
}

impl BatchFiles {
    /// No files yet.
    pub fn new(published: Published) -> Self {
        Self {
            published,
            batches: BTreeMap::new(),
            class_names: None,
        }
    }

    /// Decodes one file; `what` is the file in messages.
    ///
    /// # Errors
    /// [`Error::Data`] when its content is wrong or the same batch was added before.
    pub fn add(&mut self, role: FileRole, what: &str, bytes: &[u8]) -> Result<()> {
        let Published { spec, form } = self.published;
        if role == FileRole::Names {
            let names = form.format.class_names(what, bytes)?;
            check_names(&names, spec.classes.len()).map_err(|found| {
                let expected = format!("a name for each of {} classes", spec.classes.len());
                Error::data(what, found, expected)
            })?;
            self.class_names = Some(names);
            return Ok(());
        }
        let images = form.format.images(what, bytes, spec.classes.len())?;
        if self.batches.insert(role, images).is_some() {
            return Err(Error::data(what, "the same batch twice", "each batch once"));
        }
        Ok(())
    }

    /// The training batches in the order of their numbers, and the test batch; `what` is the whole in messages.
    /// Class names are those of the names file, else the published ones.
    ///
    /// # Errors
    /// [`Error::Data`] when a batch is missing.
    pub fn finish(mut self, what: &str) -> Result<RawDataset> {
        let published = self.published;
        let (train_files, test_file) = (published.form.train, published.form.test);
        let test = self.batches.remove(&FileRole::Test);
        let mut train = Vec::new();
        for (number, (role, images)) in (1..).zip(self.batches) {
            if role != FileRole::Train(number) {
                let found = format!("no {} before a later one", published.train_name(number));
                return Err(Error::data(what, found, "numbers from 1 without a gap"));
            }
            train.extend(images);
        }
        if train.is_empty() {
            return Err(Error::data(
                what,
                format!("no {train_files}"),
                format!("at least {}", published.train_name(1)),
            ));
        }
        let test = test
            .ok_or_else(|| Error::data(what, format!("no {test_file}"), "the test images in it"))?;
        let official = || published.spec.classes.iter().map(|name| name.to_string());
        let classes = self.class_names.unwrap_or_else(|| official().collect());
        Ok(RawDataset::new(train, test, classes))
    }
}

/// Refuses what is no list of `count` class names.
fn check_names(names: &[String], count: usize) -> std::result::Result<(), String> {
    if names.len() != count {
        return Err(format!("{} names", names.len()));
    }
    check_class_names(names)
}

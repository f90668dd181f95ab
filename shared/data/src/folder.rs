//! A folder of batches: `data_batch_*.bin` and `test_batch.bin` come in, images go out.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    batches::{Batch, Batches},
    classes::NAMES_FILE,
    source::{RawDataset, Source},
};
use base::{Result, files};

/// The folder that the official archive unpacks to.
const UNPACKED: &str = "cifar-10-batches-bin";

struct Folder {
    path: PathBuf,
    files: Vec<(Batch, PathBuf)>,
}

/// A folder with batches in it, or with the unpacked archive's folder in it.
pub fn open(path: &Path) -> Option<Box<dyn Source>> {
    [path.to_path_buf(), path.join(UNPACKED)]
        .into_iter()
        .find_map(|path| {
            let files = batch_files(&path);
            (!files.is_empty()).then(|| Box::new(Folder { path, files }) as Box<dyn Source>)
        })
}

impl Source for Folder {
    fn read(&self) -> Result<RawDataset> {
        let mut batches = Batches::default();
        for (batch, file) in &self.files {
            let bytes = files::read(file)?;
            batches.add(*batch, &file.display().to_string(), &bytes)?;
        }
        let names = self.path.join(NAMES_FILE);
        if names.is_file() {
            batches.add_names(&names.display().to_string(), &files::read(&names)?)?;
        }
        batches.finish(&self.path.display().to_string())
    }
}

/// The batches in a folder, in order; none where it cannot be listed, since then it is no
/// source of this form.
fn batch_files(path: &Path) -> Vec<(Batch, PathBuf)> {
    let mut files: Vec<_> = (fs::read_dir(path).into_iter().flatten().flatten())
        .filter_map(|entry| Some((Batch::of(entry.file_name().to_str()?)?, entry.path())))
        .collect();
    files.sort();
    files
}

//! Folder of batch files, as an unpacked archive of a published data set.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    Opened, RawDataset, Source,
    batch_files::{BatchFiles, FileRole, Published},
};
use base::{Error, Result, files};

#[derive(Debug)]
struct BatchFolder {
    path: PathBuf,
    published: Published,
    files: Vec<(FileRole, PathBuf)>,
}

/// A folder with batch files of a data set in it, or with the folder that its archive unpacks to.
///
/// # Errors
/// [`Error::Data`] when there are files of several data sets, of which the path could mean any.
pub fn open(path: &Path) -> Opened {
    let inside = |published: Published| path.join(published.form.folder);
    let here = Published::all().filter_map(|published| batch_folder(path.into(), published));
    let unpacked =
        Published::all().filter_map(|published| batch_folder(inside(published), published));
    let mut found: Option<BatchFolder> = None;
    for other in here.chain(unpacked) {
        match &found {
            None => found = Some(other),
            // Several forms of one set have the same images.
            Some(first) if first.published.spec.name == other.published.spec.name => {}
            Some(first) => {
                let names = [first, &other].map(|folder| folder.published.spec.name);
                let found = format!("both {} and {}", names[0], names[1]);
                return Err(Error::data(
                    path.display(),
                    found,
                    "the folder of one data set",
                ));
            }
        }
    }
    Ok(found.map(|found| Box::new(found) as Box<dyn Source>))
}

impl Source for BatchFolder {
    fn read(&self) -> Result<RawDataset> {
        let mut batches = BatchFiles::new(self.published);
        for (role, file) in &self.files {
            batches.add(*role, &file.display().to_string(), &files::read(file)?)?;
        }
        batches.finish(&self.path.display().to_string())
    }
}

/// The files of a form in a folder, if a batch is among them. A folder that cannot be listed has none: it is no
/// source of this kind.
fn batch_folder(path: PathBuf, published: Published) -> Option<BatchFolder> {
    let mut files: Vec<_> = (fs::read_dir(&path).into_iter().flatten().flatten())
        .filter_map(|entry| {
            let role = published.role(entry.file_name().to_str()?)?;
            // An image folder has folders of the names `train` and `test`.
            (!entry.path().is_dir()).then(|| (role, entry.path()))
        })
        .collect();
    files.sort();
    let has_batch = files.iter().any(|(role, _)| *role != FileRole::Names);
    has_batch.then_some(BatchFolder {
        path,
        published,
        files,
    })
}

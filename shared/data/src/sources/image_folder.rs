//! Image folder: `train/<class>/*` and `test/<class>/*`, PNG or JPEG images of 32x32 pixels.
//!
//! Class folders in alphabetical order, whatever the case and numbers by their value, are the labels from 0.
//! The images follow each other class by class in the order of their pixels, so that their files' names change
//! nothing. Names that begin with a dot are skipped.

use std::{
    fs,
    io::BufReader,
    path::{Path, PathBuf},
};

use image::{DynamicImage, ImageDecoder, ImageReader};
use rayon::prelude::*;

use super::{Opened, RawDataset, Source};
use crate::{
    DATASETS, IMAGE_BYTES, IMAGE_SIDE, Image, MAX_CLASSES, check_class_names, class_names,
};
use base::{Error, Result, log};

/// Class names that messages list at most.
const MAX_LISTED: usize = 30;

#[derive(Debug)]
struct ImageFolder(PathBuf);

/// A folder with a folder `train` or `test` in it.
pub fn open(path: &Path) -> Opened {
    let is_image_folder = ["train", "test"]
        .iter()
        .any(|part| path.join(part).is_dir());
    let source = || Box::new(ImageFolder(path.to_path_buf())) as Box<dyn Source>;
    Ok(is_image_folder.then(source))
}

impl Source for ImageFolder {
    fn read(&self) -> Result<RawDataset> {
        let (train, test) = (self.0.join("train"), self.0.join("test"));
        let classes = class_folders(&train)?;
        let test_classes = class_folders(&test)?;
        if classes != test_classes {
            let found = listed(&test_classes);
            let expected = format!("the classes of train: {}", listed(&classes));
            return Err(Error::data(test.display(), found, expected));
        }
        if !DATASETS.iter().any(|spec| spec.classes == classes) {
            let known: Vec<_> = DATASETS.iter().map(|spec| spec.name).collect();
            log::warning(format_args!(
                "{}: the class folders do not have the class names of {}; the labels 0 to {} are taken to be {}",
                self.0.display(),
                known.join(" or "),
                classes.len() - 1,
                listed(&classes)
            ));
        }
        let (train, test) = (read_part(&train, &classes)?, read_part(&test, &classes)?);
        Ok(RawDataset::new(train, test, classes))
    }
}

/// The class folders' names, in the order of the labels.
fn class_folders(part: &Path) -> Result<Vec<String>> {
    let folders = list(part)?.into_iter().filter(|path| path.is_dir());
    let mut names = folders
        .map(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.map(str::to_string)
                .ok_or_else(|| Error::data(path.display(), "a name that is not UTF-8", "UTF-8"))
        })
        .collect::<Result<Vec<_>>>()?;
    names.sort_by(|a, b| class_names::order(a, b));
    if !(2..=MAX_CLASSES).contains(&names.len()) {
        let found = format!("{} class folders ({})", names.len(), listed(&names));
        let expected = format!("2 to {MAX_CLASSES}, one for each class");
        return Err(Error::data(part.display(), found, expected));
    }
    check_class_names(&names)
        .map_err(|found| Error::data(part.display(), found, "names of classes"))?;
    Ok(names)
}

/// Class names for a message.
fn listed(names: &[String]) -> String {
    let (shown, rest) = names.split_at(names.len().min(MAX_LISTED));
    let dots = if rest.is_empty() { "" } else { ", ..." };
    format!("{}{dots}", shown.join(", "))
}

/// The images of `train` or `test`.
fn read_part(part: &Path, classes: &[String]) -> Result<Vec<Image>> {
    let mut files = Vec::new();
    for (label, class) in classes.iter().enumerate() {
        let class = part.join(class);
        let class_files = list(&class)?;
        if class_files.is_empty() {
            return Err(Error::data(class.display(), "no images", "at least one"));
        }
        files.extend(class_files.into_iter().map(|file| (label as u8, file)));
    }
    // Gathered before the first error is picked, so that it is the same one on any number of
    // threads.
    let decoded: Vec<Result<Image>> = (files.par_iter())
        .map(|(label, file)| {
            Ok(Image {
                source_index: 0,
                label: *label,
                pixels: decode(file)?,
            })
        })
        .collect();
    let mut images = decoded.into_iter().collect::<Result<Vec<_>>>()?;
    images.par_sort_by(|a, b| (a.label, &a.pixels).cmp(&(b.label, &b.pixels)));
    Ok(images)
}

/// [`IMAGE_BYTES`] bytes of one image: gray becomes three equal channels, transparency is dropped.
fn decode(path: &Path) -> Result<Box<[u8]>> {
    let unreadable = |error| Error::data(path.display(), error, "a PNG or JPEG image");
    if !path.is_file() {
        return Err(Error::data(
            path.display(),
            "a folder or a device",
            "a PNG or JPEG image",
        ));
    }
    let file = fs::File::open(path).map_err(Error::io("read", path))?;
    let decoder = ImageReader::new(BufReader::new(file))
        .with_guessed_format()
        .map_err(Error::io("read", path))?
        .into_decoder()
        .map_err(unreadable)?;
    // Before decoding, so that an image of another size is never unpacked.
    let (width, height) = decoder.dimensions();
    if (width, height) != (IMAGE_SIDE as u32, IMAGE_SIDE as u32) {
        let found = format!("{width}x{height}");
        return Err(Error::data(path.display(), found, "32x32"));
    }
    let image = DynamicImage::from_decoder(decoder).map_err(unreadable)?;
    let interleaved = image.into_rgb8().into_raw();
    let mut planar = Vec::with_capacity(IMAGE_BYTES);
    for channel in 0..3 {
        planar.extend(interleaved.iter().skip(channel).step_by(3));
    }
    Ok(planar.into())
}

/// Entries of a folder, in alphabetical order, without hidden ones.
fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let entry = entry.map_err(Error::io("read", folder))?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

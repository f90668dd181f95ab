//! An image folder: `train/<class>/*` and `test/<class>/*` come in, images go out.
//!
//! Class folders in alphabetical order, whatever the case and numbers by their value, are the labels 0 to 9.
//! The images, PNG or JPEG of 32x32 pixels, follow each other class by class in the order of their pixels, so
//! that their files' names change nothing. Names that begin with a dot are not looked at.

use std::{
    fs,
    io::BufReader,
    path::{Path, PathBuf},
};

use image::{DynamicImage, ImageDecoder, ImageReader};
use rayon::prelude::*;

use super::{
    CLASSES, IMAGE_BYTES, Image,
    batches::number,
    check_class_names, classes,
    source::{RawDataset, Source},
};
use base::{Error, Result, log};

const SIDE: u32 = 32;

struct Images(PathBuf);

/// A folder with a folder `train` or `test` in it.
pub fn open(path: &Path) -> Option<Box<dyn Source>> {
    let either = ["train", "test"]
        .iter()
        .any(|part| path.join(part).is_dir());
    either.then(|| Box::new(Images(path.to_path_buf())) as Box<dyn Source>)
}

impl Source for Images {
    fn read(&self) -> Result<RawDataset> {
        let (train, test) = (self.0.join("train"), self.0.join("test"));
        let classes = class_folders(&train)?;
        let test_classes = class_folders(&test)?;
        if classes != test_classes {
            let found = test_classes.join(", ");
            let expected = format!("the classes of train: {}", classes.join(", "));
            return Err(Error::data(test.display(), found, expected));
        }
        if classes != classes::official() {
            log::warning(format_args!(
                "{}: the class folders do not have CIFAR-10's names; the labels 0 to 9 are taken to be {}",
                self.0.display(),
                classes.join(", ")
            ));
        }
        Ok(RawDataset {
            train: read_part(&train, &classes)?,
            test: read_part(&test, &classes)?,
            classes,
        })
    }
}

/// The ten class folders' names, in the order of the labels.
fn class_folders(part: &Path) -> Result<Vec<String>> {
    let folders = list(part)?.into_iter().filter(|path| path.is_dir());
    let mut names = folders
        .map(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.map(str::to_string)
                .ok_or_else(|| Error::data(path.display(), "a name that is not UTF-8", "UTF-8"))
        })
        .collect::<Result<Vec<_>>>()?;
    names.sort_by(|a, b| classes::order(a, b));
    if names.len() != CLASSES {
        let listed = match names.len() {
            0 => String::new(),
            1..=30 => format!(" ({})", names.join(", ")),
            _ => format!(" ({}, ...)", names[..30].join(", ")),
        };
        let found = format!("{} class folders{listed}", names.len());
        return Err(Error::data(
            part.display(),
            found,
            format!("{CLASSES}, one for each class"),
        ));
    }
    check_class_names(&names)
        .map_err(|found| Error::data(part.display(), found, "names of classes"))?;
    Ok(names)
}

fn read_part(part: &Path, classes: &[String]) -> Result<Vec<Image>> {
    let mut files = Vec::new();
    for (label, class) in (0..).zip(classes) {
        let class = part.join(class);
        let of_class = list(&class)?;
        if of_class.is_empty() {
            return Err(Error::data(class.display(), "no images", "at least one"));
        }
        files.extend(of_class.into_iter().map(|file| (label, file)));
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
    let mut pictures = decoded.into_iter().collect::<Result<Vec<_>>>()?;
    pictures.par_sort_by(|a, b| (a.label, &a.pixels).cmp(&(b.label, &b.pixels)));
    number(&mut pictures);
    Ok(pictures)
}

/// [`PIXELS`] bytes of one image: gray becomes three equal channels, transparency is dropped.
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
    if (width, height) != (SIDE, SIDE) {
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

/// What a folder holds, in alphabetical order.
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

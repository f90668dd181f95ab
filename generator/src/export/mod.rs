//! For other tools: a store comes in; its images go out as NumPy arrays, as PNG files or as
//! WebDataset shards.

mod npz;
mod png;
mod webdataset;

use std::{
    fs,
    path::{Path, PathBuf},
};

use base::{Error, Result, log, output::Output, progress::Progress, signal::Stop};
use clap::{Args, ValueEnum};
use data::{Split, sheet};
use image::{Rgb, RgbImage};
use store::{ImageRow, SampleRow, Store};

/// `generator export`.
#[derive(Debug, Args)]
#[command(after_help = "\
npz: for each split SPLIT_images [N,V,3,32,32] bytes, SPLIT_labels [N] and SPLIT_ids [N], and
     variants [V], the names of the second axis: clean, then the attacks.
png: OUT/SPLIT/VARIANT/CLASS/ID.png, each VARIANT an image folder as torchvision reads it.
webdataset: OUT/SPLIT-NNNNNN.tar of 1,000 images each; ID.VARIANT.png for every variant, and
     ID.cls with the label.

Example:
  generator export cifar10.db --format npz --out cifar10.npz")]
pub struct Export {
    /// Path of the store
    db: PathBuf,
    /// Output format
    #[arg(long, value_enum, value_name = "F")]
    format: Format,
    /// Output file (npz) or directory (png, webdataset)
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
    /// Replace an export of the same format
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// One file of NumPy arrays
    Npz,
    /// Folders of PNG files
    Png,
    /// Tar files of PNG files, for streaming
    Webdataset,
}

impl Export {
    /// Writes everything under another name first, so that what has the right one is whole.
    pub fn run(&self) -> Result<()> {
        let kind = match self.format {
            Format::Npz => npz::OUTPUT,
            Format::Png => png::OUTPUT,
            Format::Webdataset => webdataset::OUTPUT,
        };
        let out = Output::claim(&self.out, &kind, &[&self.db], self.force)?;
        let store = Store::open(&self.db)?;
        let pictures = Pictures {
            variants: std::iter::once("clean")
                .chain(store.attacks().iter().map(|attack| attack.name.as_str()))
                .collect(),
            store: &store,
            stop: Stop::listen()?,
        };
        out.make(|partial| match self.format {
            Format::Npz => npz::write(&pictures, partial),
            Format::Png => png::write(&pictures, partial),
            Format::Webdataset => webdataset::write(&pictures, partial),
        })?;
        log::result(self.out.display())
    }
}

/// What all forms write.
struct Pictures<'a> {
    store: &'a Store,
    /// The clean image, then the attacks in the order of their numbers.
    variants: Vec<&'a str>,
    stop: Stop,
}

impl Pictures<'_> {
    /// Hands over the images of a split with their variants' bytes, 3x32x32 planar.
    fn each(
        &self,
        split: Split,
        bar: &mut Progress,
        mut write: impl FnMut(&ImageRow, &[&[u8]]) -> Result<()>,
    ) -> Result<()> {
        self.store
            .for_each(split, |image, samples: Vec<SampleRow>| {
                self.stop.check("the same command begins anew")?;
                let adversarial = samples.iter().map(|sample| &*sample.pixels);
                let all: Vec<&[u8]> = std::iter::once(&*image.pixels).chain(adversarial).collect();
                write(&image, &all)?;
                bar.add(1, "");
                Ok(())
            })
    }

    fn progress(&self) -> Progress {
        let images = Split::ALL.map(|split| self.store.meta().images_of(split));
        Progress::new("exporting", images.iter().sum())
    }
}

/// Whether every file below a folder has a path that `ours` takes for one of an export's; its parts come
/// from the folder down.
fn holds_only(folder: &Path, ours: &dyn Fn(&[String]) -> bool) -> Result<bool> {
    fn walk(
        folder: &Path,
        above: &mut Vec<String>,
        ours: &dyn Fn(&[String]) -> bool,
    ) -> Result<bool> {
        for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
            let path = entry.map_err(Error::io("read", folder))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            above.push(name.into_owned());
            let is_folder = path.is_dir() && !path.is_symlink();
            let good = if is_folder {
                walk(&path, above, ours)?
            } else {
                ours(above)
            };
            if !good {
                return Ok(false);
            }
            above.pop();
        }
        Ok(true)
    }
    walk(folder, &mut Vec::new(), ours)
}

/// Whether a name is digits and then this ending.
fn is_number(name: &str, ending: &str) -> bool {
    let digits = name.strip_suffix(ending).unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// A planar image as a PNG file.
fn encoded(pixels: &[u8]) -> Result<Vec<u8>> {
    let picture = RgbImage::from_fn(32, 32, |x, y| {
        let at = (32 * y + x) as usize;
        Rgb([0, 1, 2].map(|plane| pixels[1024 * plane + at]))
    });
    sheet::png(&picture)
}

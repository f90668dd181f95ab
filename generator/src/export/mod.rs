//! For other tools: a store comes in; its pictures go out as NumPy arrays, as PNG files or as
//! WebDataset shards.

mod npz;
mod png;
mod webdataset;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use image::{Rgb, RgbImage};
use shared::{
    Result,
    cifar10::Split,
    files, log,
    progress::Progress,
    sheet,
    signal::Stop,
    store::{ImageRow, SampleRow, Store},
};

/// `generator export`.
#[derive(Debug, Args)]
#[command(after_help = "\
npz: for each split SPLIT_images [N,V,3,32,32] bytes, SPLIT_labels [N] and SPLIT_ids [N], and
     variants [V], the names of the second axis: clean, then the attacks.
png: OUT/SPLIT/VARIANT/CLASS/ID.png, each VARIANT an image folder as torchvision reads it.
webdataset: OUT/SPLIT-NNNNNN.tar of 1,000 pictures each; ID.VARIANT.png for every variant, and
     ID.cls with the label.")]
pub struct Export {
    /// The store
    db: PathBuf,
    /// The form
    #[arg(long, value_enum, value_name = "F")]
    format: Format,
    /// The file (npz) or the folder to make
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
    /// Replace what is there
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
        files::may_write(&self.out, self.force)?;
        let store = Store::open(&self.db)?;
        let partial = files::partial(&self.out);
        files::remove(&partial)?;
        let pictures = Pictures {
            variants: std::iter::once("clean")
                .chain(store.attacks().iter().map(|attack| attack.name.as_str()))
                .collect(),
            store: &store,
            stop: Stop::listen()?,
        };
        let written = match self.format {
            Format::Npz => npz::write(&pictures, &partial),
            Format::Png => png::write(&pictures, &partial),
            Format::Webdataset => webdataset::write(&pictures, &partial),
        };
        if written.is_err() {
            files::remove(&partial)?;
        }
        written?;
        files::rename(&partial, &self.out)?;
        log::result(self.out.display())
    }
}

/// What all forms write.
struct Pictures<'a> {
    store: &'a Store,
    /// The clean picture, then the attacks in the order of their numbers.
    variants: Vec<&'a str>,
    stop: Stop,
}

impl Pictures<'_> {
    /// Hands over the pictures of a split with their variants' bytes, 3x32x32 planar.
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

/// A planar picture as a PNG file.
fn encoded(pixels: &[u8]) -> Result<Vec<u8>> {
    let picture = RgbImage::from_fn(32, 32, |x, y| {
        let at = (32 * y + x) as usize;
        Rgb([0, 1, 2].map(|plane| pixels[1024 * plane + at]))
    });
    sheet::png(&picture)
}

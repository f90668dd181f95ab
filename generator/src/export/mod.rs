//! Export formats: one module and one row of [`FORMATS`] each.

mod npz;
mod png;
mod webdataset;

use std::{fs, path::Path};

use base::{Error, Result, output, progress::Progress, signal::Stop};
use data::{Split, sheet};
use image::{Rgb, RgbImage};
use store::{ImageRow, SampleRow, Store};

/// All formats, in the order of `--help`.
pub const FORMATS: &[&Format] = &[&npz::FORMAT, &png::FORMAT, &webdataset::FORMAT];

/// An export format.
pub struct Format {
    /// Its name on the command line.
    pub name: &'static str,
    /// Its line in `--help`.
    pub help: &'static str,
    /// The output file or folder.
    pub output: output::Kind,
    /// Writes all images to a path that does not exist yet.
    pub write: fn(&Source, &Path) -> Result<()>,
}

impl std::fmt::Debug for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// The images to export.
pub struct Source<'a> {
    store: &'a Store,
    /// Names: "clean", then the attacks in the order of their ids.
    variants: Vec<&'a str>,
    stop: Stop,
}

impl<'a> Source<'a> {
    /// All images of a store.
    pub fn new(store: &'a Store, stop: Stop) -> Self {
        let attacks = store.attacks().iter().map(|attack| attack.name.as_str());
        Self {
            variants: std::iter::once("clean").chain(attacks).collect(),
            store,
            stop,
        }
    }

    /// Calls `write` with each image of a split and the pixels of its variants, one image at a time.
    fn for_each(
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

/// Whether `ours` accepts the path, split into its parts, of every file below a folder.
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

/// Whether a name consists of digits and this ending.
fn is_number(name: &str, ending: &str) -> bool {
    let digits = name.strip_suffix(ending).unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// A planar 3x32x32 image as a PNG file.
fn encoded(pixels: &[u8]) -> Result<Vec<u8>> {
    let image = RgbImage::from_fn(32, 32, |x, y| {
        let at = (32 * y + x) as usize;
        Rgb([0, 1, 2].map(|plane| pixels[1024 * plane + at]))
    });
    sheet::png(&image)
}

//! `generator export`: the images of a store for other tools.

use std::path::PathBuf;

use base::{Result, log, output::Output, signal::Stop};
use clap::{
    Args,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};
use store::Store;

use crate::export::{FORMATS, Format, Source};

/// `generator export`.
#[derive(Debug, Args)]
#[command(after_help = "\
npz: for each split SPLIT_images [N,V,3,32,32] bytes, SPLIT_labels [N] and SPLIT_ids [N], and
     variants [V], the names of the second axis: clean, then the attacks.
png: OUT/SPLIT/VARIANT/CLASS/ID.png, each VARIANT an image folder as torchvision reads it.
webdataset: OUT/SPLIT-NNNNNN.tar of 1,000 images each; ID.VARIANT.png for every variant, and
     ID.cls with the label.

Examples:
  generator export cifar10.db --format npz --out cifar10.npz
  generator export cifar10.db --format png --out images --force")]
pub struct Export {
    /// Path of the store
    db: PathBuf,
    /// Output format
    #[arg(long, value_name = "F", value_parser = format())]
    format: &'static Format,
    /// Output file (npz) or directory (png, webdataset)
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
    /// Replace an export of the same format
    #[arg(long)]
    force: bool,
}

/// The names of the formats, with their help.
fn format() -> impl TypedValueParser<Value = &'static Format> {
    let name = |format: &&'static Format| PossibleValue::new(format.name).help(format.help);
    PossibleValuesParser::new(FORMATS.iter().map(name)).try_map(|name| {
        let format = FORMATS.iter().find(|format| format.name == name);
        format.copied().ok_or("no such format")
    })
}

impl Export {
    /// Writes the export under a temporary name, then renames it.
    pub fn run(self) -> Result<()> {
        let out = Output::claim(&self.out, &self.format.output, &[&self.db], self.force)?;
        let store = Store::open(&self.db)?;
        let source = Source::new(&store, Stop::listen()?);
        out.make(|partial| (self.format.write)(&source, partial))?;
        log::result(self.out.display())
    }
}

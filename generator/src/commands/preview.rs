//! `generator preview`: a contact sheet of test images, their samples and amplified perturbations.

use std::path::PathBuf;

use base::{
    Error, Result, log,
    output::{self, Existing, Form, Output},
};
use clap::Args;
use cli::arguments::{Parsed, positive};
use data::{
    Split,
    sheet::{self, Strip},
};
use store::Store;

/// The contact sheet as an output.
const PNG: output::Kind = output::Kind {
    name: "a PNG image",
    form: Form::File,
    existing: Existing::Kept,
    matches: |path| output::begins_with(path, b"\x89PNG\r\n"),
};

/// Pixels of the sheet per pixel of an image.
const SCALE: u32 = 2;

/// `generator preview`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  generator preview cifar10.db --out sheet.png
  generator preview cifar10.db --out sheet.png --count 20 --amplify 16")]
pub struct Preview {
    /// Path of the store
    db: PathBuf,
    /// Output PNG
    #[arg(long, value_name = "sheet.png")]
    out: PathBuf,
    /// Number of test images
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = positive)]
    count: usize,
    /// Factor by which perturbations are amplified
    #[arg(long, default_value_t = 8.0, value_name = "X", value_parser = amplification)]
    amplify: f32,
    /// Replace an existing PNG
    #[arg(long)]
    force: bool,
}

/// A factor that leaves differences visible and finite.
fn amplification(text: &str) -> Parsed<f32> {
    let factor: f32 = text.parse().map_err(|_| "not a number")?;
    match (1.0..=255.0).contains(&factor) {
        true => Ok(factor),
        false => Err("a number from 1 to 255".into()),
    }
}

impl Preview {
    /// Draws the first images of the test split.
    pub fn run(self) -> Result<()> {
        let out = Output::claim(&self.out, &PNG, &[&self.db], self.force)?;
        let table = Store::open(&self.db)?.load(Split::Test)?;
        if table.is_empty() {
            let message = "no test images to show: --limit of the build gave the test split none";
            return Err(Error::invalid(self.db.display(), message));
        }
        let strips: Vec<Strip> = (0..table.len().min(self.count))
            .map(|row| Strip {
                caption: format!("image {}", table.ids[row]),
                clean: table.variant(row, 0),
                variants: table
                    .attacks
                    .iter()
                    .enumerate()
                    .map(|(i, name)| (name.clone(), table.variant(row, 1 + i)))
                    .collect(),
            })
            .collect();
        let image = sheet::render(&strips, SCALE, self.amplify)?;
        out.write(&sheet::png(&image)?)?;
        log::result(format_args!(
            "{}: {} images; in columns clean, {}; below each the difference x {}",
            self.out.display(),
            strips.len(),
            table.attacks.join(", "),
            self.amplify
        ))
    }
}

//! `trainer report`: HTML report of runs, with a contact sheet from their store.

use std::path::{Path, PathBuf};

use base::{Result, log};
use clap::Args;
use data::Split;
use store::{InMemorySplit, Store};

use crate::report::{self, ClassifiedImage, ImageStrip};

/// Images on the contact sheet.
const MAX_STRIPS: usize = 5;

/// `trainer report`.
#[derive(Debug, Args)]
#[command(after_help = "\
The page has the tables of trainer eval, curves of every run and, if a run's store is still there, a
contact sheet. It is one file that loads nothing from anywhere.

Examples:
  trainer report runs/joint --out report.html
  trainer report runs/baseline runs/adversarial runs/joint --out report.html")]
pub struct Report {
    /// Run folders
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Output HTML file
    #[arg(long, value_name = "FILE.html")]
    out: PathBuf,
    /// Replace an existing HTML file that is not a report of this program
    #[arg(long)]
    force: bool,
}

impl Report {
    /// Writes the report, without a contact sheet where the store is missing.
    pub fn run(self) -> Result<()> {
        let strips = self.strips()?;
        report::write(&self.runs, strips.as_deref(), &self.out, self.force)?;
        log::result(self.out.display())
    }

    /// The contact sheet of the first store that is still there and has test images.
    fn strips(&self) -> Result<Option<Vec<ImageStrip>>> {
        let mut reason = None;
        for run in &self.runs {
            let Some(db) = report::database(run)? else {
                continue;
            };
            match strips_of(&db) {
                Ok(strips) if !strips.is_empty() => return Ok(Some(strips)),
                Ok(_) => reason = Some(format!("{}: no test images", db.display())),
                Err(error) => reason = Some(error.to_string()),
            }
        }
        if let Some(reason) = reason {
            log::warning(format_args!(
                "the report has no images, since no run's store could be read: {reason}"
            ));
        }
        Ok(None)
    }
}

/// One test image each of every other class. Images that the surrogate classifies correctly come first, since
/// only they show the effect of an attack.
fn strips_of(db: &Path) -> Result<Vec<ImageStrip>> {
    let store = Store::open(db)?;
    let (split, meta) = (store.load(Split::Test)?, store.meta());
    let row_of = |class: usize| {
        let rows = (0..split.len()).filter(|row| usize::from(split.labels[*row]) == class);
        rows.min_by_key(|row| split.clean_preds[*row] != split.labels[*row])
    };
    let rows = (0..meta.spec.classes.len()).filter_map(row_of).step_by(2);
    let strip = |row| strip(&split, row, |class| meta.class_name(class));
    Ok(rows.take(MAX_STRIPS).map(strip).collect())
}

fn strip(split: &InMemorySplit, row: usize, class_name: impl Fn(u8) -> String) -> ImageStrip {
    let attacks = split.attacks.len();
    let image = |variant: usize, class: u8| ClassifiedImage {
        pixels: split.variant(row, variant).to_vec(),
        prediction: class_name(class),
    };
    let sample = |(i, attack): (usize, &String)| {
        let prediction = split.preds[row * attacks + i];
        (attack.clone(), image(1 + i, prediction))
    };
    ImageStrip {
        caption: format!("image {}", split.ids[row]),
        class: class_name(split.labels[row]),
        clean: image(0, split.clean_preds[row]),
        variants: split.attacks.iter().enumerate().map(sample).collect(),
    }
}

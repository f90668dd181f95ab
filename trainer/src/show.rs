//! `trainer report`: run folders come in, the page goes out, with images from the runs' store: a
//! few test images of different classes with all their variants, named and judged.

use std::path::{Path, PathBuf};

use base::{Result, log};
use data::Split;
use store::{InMemorySplit, Store};

use crate::report::{self, ClassifiedImage, ImageStrip};

/// Images shown.
const STRIPS: usize = 5;

/// Writes the page. A run whose store has gone is reported without images, and that is said.
pub fn report(runs: &[PathBuf], out: &Path, force: bool) -> Result<()> {
    let mut strips = None;
    for run in runs {
        match report::database(run)? {
            Some(db) if db.exists() => strips = Some(self::strips(&db)?),
            Some(db) => log::warning(format_args!(
                "{}: no store there, so no images in the report",
                db.display()
            )),
            None => {}
        }
        if strips.is_some() {
            break;
        }
    }
    report::write(runs, strips.as_deref(), out, force)?;
    log::result(out.display())
}

/// One test image each of the first classes; those that the surrogate gets right come first,
/// for only they show what an attack changes.
pub fn strips(db: &Path) -> Result<Vec<ImageStrip>> {
    let store = Store::open(db)?;
    let (table, meta) = (store.load(Split::Test)?, store.meta());
    let row_of = |class: usize| {
        let rows = (0..table.len()).filter(|row| usize::from(table.labels[*row]) == class);
        rows.min_by_key(|row| table.clean_preds[*row] != table.labels[*row])
    };
    let rows = (0..meta.classes.len()).filter_map(row_of).step_by(2);
    let strip = |row| strip(&table, row, |class| meta.class_name(class));
    Ok(rows.take(STRIPS).map(strip).collect())
}

fn strip(table: &InMemorySplit, row: usize, name: impl Fn(u8) -> String) -> ImageStrip {
    let attacks = table.attacks.len();
    let shown = |variant: usize, class: u8| ClassifiedImage {
        pixels: table.variant(row, variant).to_vec(),
        prediction: name(class),
    };
    let variants = table.attacks.iter().enumerate();
    ImageStrip {
        caption: format!("image {}", table.ids[row]),
        class: name(table.labels[row]),
        clean: shown(0, table.clean_preds[row]),
        variants: variants
            .map(|(i, attack)| (attack.clone(), shown(1 + i, table.preds[row * attacks + i])))
            .collect(),
    }
}

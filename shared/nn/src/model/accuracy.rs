//! A model's clean accuracy beside what its header says: one that is far below was hardly used as it was
//! trained.

use std::fmt::Display;

use super::Metadata;
use base::log;

/// A clean accuracy under this is a warning.
const LEAST: f64 = 0.5;
/// So far it may be under what the header says.
const TOLERANCE: f64 = 0.05;

const REASONS: &str = "likely reasons: another input normalization (--mean, --std), another order of the \
                       classes, or a model that was trained too little";

/// Warns of a clean accuracy that is under a half, or under what the header says. `on_val` is that of the
/// val split, which the header's is, too; `all` that of all images that were classified; `what` names the
/// model.
pub fn warn_of_accuracy(
    what: &dyn Display,
    metadata: &Metadata,
    on_val: Option<f64>,
    all: Option<f64>,
) {
    let percent = |part: f64| format!("{:.1} %", 100.0 * part);
    let stated = metadata.get("clean_accuracy").or(metadata.get("accuracy"));
    let stated = stated.and_then(|text| text.parse::<f64>().ok());
    match (on_val.or(all), stated) {
        (Some(found), Some(stated)) if found < stated - TOLERANCE => log::warning(format_args!(
            "{what}: {} of the clean images are classified correctly, its header says {}; {REASONS}",
            percent(found),
            percent(stated)
        )),
        (Some(found), _) if all.unwrap_or(found) < LEAST => log::warning(format_args!(
            "{what}: only {} of the clean images are classified correctly; {REASONS}",
            percent(all.unwrap_or(found))
        )),
        _ => {}
    }
}

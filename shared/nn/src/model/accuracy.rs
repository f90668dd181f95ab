//! Sanity check of a model's clean accuracy: one far below what its metadata state is probably not used as it was
//! trained.

use std::fmt::Display;

use super::Metadata;
use base::log;

/// A clean accuracy below this is a warning.
const MIN_ACCURACY: f64 = 0.5;
/// How far it may be below what the metadata state.
const TOLERANCE: f64 = 0.05;

const REASONS: &str = "likely reasons: another input normalization (--mean, --std), another order of the \
                       classes, or a model that was trained too little";

/// Warns of a clean accuracy below a half, or below what the metadata state. `on_val` is that of the val split, as
/// the metadata's is; `all` that of all images that were classified; `what` names the model.
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
        (Some(found), _) if all.unwrap_or(found) < MIN_ACCURACY => log::warning(format_args!(
            "{what}: only {} of the clean images are classified correctly; {REASONS}",
            percent(all.unwrap_or(found))
        )),
        _ => {}
    }
}

//! Warnings of a build: weaknesses that make a store less useful. They are logged, repeated at the end and
//! kept in the store (`generator info`).

use std::{collections::BTreeMap, path::Path};

use base::log;
use data::{Dataset, Split};
use nn::model::{Metadata, Origin};
use store::SummaryRow;

/// Maximum share of an attack's samples that equal their clean images, without a warning.
const MAX_UNCHANGED: f64 = 0.1;

/// Warns of a model that was trained on validation images of this build.
pub fn check_seed(model: &Path, metadata: &Metadata, data: &Dataset, seed: u64) {
    let Some(origin) = Origin::of(metadata) else {
        return;
    };
    if !origin.overlaps_val(&data.source_hash, seed) {
        return;
    }
    let trained = data.val_trained_on(origin.split_seed);
    if trained > 0 {
        log::warning(format_args!(
            "{}: trained with --seed {}, this build has --seed {seed}: {trained} of the {} val images were \
             trained on; build with --seed {} or train the model with --seed {seed}",
            model.display(),
            origin.split_seed,
            data.val.len(),
            origin.split_seed,
        ));
    }
}

/// Warns of a low clean accuracy. `counts` are the images of train, val and test, and the correctly
/// classified ones among them.
pub fn check_accuracy(path: &Path, metadata: &Metadata, counts: &[(u64, u64); 3]) {
    let of = |splits: &[Split]| {
        let images: u64 = splits.iter().map(|split| counts[*split as usize].0).sum();
        let right: u64 = splits.iter().map(|split| counts[*split as usize].1).sum();
        (images > 0).then(|| right as f64 / images as f64)
    };
    let all = of(&[Split::Val, Split::Test]).or(of(&Split::ALL));
    nn::model::warn_of_accuracy(&path.display(), metadata, of(&[Split::Val]), all);
}

/// Warns of attacks that left many images unchanged.
pub fn check_unchanged(summary: &[SummaryRow]) {
    let mut attacks: BTreeMap<&str, [u64; 3]> = BTreeMap::new();
    for row in summary {
        let sums = attacks.entry(&row.attack).or_default();
        for (sum, more) in
            sums.iter_mut()
                .zip([row.count, row.unchanged, row.unchanged_misclassified])
        {
            *sum += more;
        }
    }
    for (attack, [count, unchanged, misclassified]) in attacks {
        let share = unchanged as f64 / count.max(1) as f64;
        if share > MAX_UNCHANGED {
            log::warning(format_args!(
                "{attack}: {unchanged} of {count} samples ({:.1} %) equal their clean images; the model \
                 misclassifies {misclassified} of these images anyway, and has no gradient to speak of at {}",
                100.0 * share,
                unchanged.saturating_sub(misclassified)
            ));
        }
    }
}

//! Several stores of the same images: checked against each other, and drawn from as one with the attacks of all.

use std::path::PathBuf;

use base::{Error, Result};
use data::Split;
use store::{InMemorySplit, Store};

/// Opens the stores, at least one.
///
/// # Errors
/// [`Error::Usage`] for a store that is named twice, [`Error::Data`] for one of other images than the first one's.
pub fn open(paths: &[PathBuf]) -> Result<Vec<Store>> {
    let stores: Vec<Store> = paths
        .iter()
        .map(|path| Store::open(path))
        .collect::<Result<_>>()?;
    for (number, (path, store)) in paths.iter().zip(&stores).enumerate() {
        let (ours, first) = (store.meta(), stores[0].meta());
        let same = |other: &Store| other.meta().content_hash == ours.content_hash;
        if let Some(earlier) = stores[..number].iter().position(same) {
            return Err(Error::Usage(format!(
                "{}: found the content of {}, expected another store",
                path.display(),
                paths[earlier].display()
            )));
        }
        let images = (
            &first.spec.source_hash[..],
            first.spec.seed,
            first.spec.limit,
        );
        let whose = paths[0].display().to_string();
        ours.spec.check_images(&path.display(), images, &whose)?;
    }
    Ok(stores)
}

/// The stores' content hashes.
pub fn hash(stores: &[Store]) -> String {
    let hash = |store: &Store| store.meta().content_hash.clone().unwrap_or_default();
    stores.iter().map(hash).collect::<Vec<_>>().join("+")
}

/// Names of all attacks in the order of [`load_train`]'s variants: those of the store, or with several stores
/// `2/fgsm` for the second one's.
pub fn attacks(stores: &[Store]) -> Vec<String> {
    let numbered = stores.iter().zip(1..);
    let names = numbered.flat_map(|(store, number)| {
        let names = store.attacks().iter();
        names.map(move |attack| name(&attack.name, number, stores.len()))
    });
    names.collect()
}

/// All variants of the training images.
///
/// # Errors
/// [`Error::Data`] where an image is not the first store's.
pub fn load_train(stores: &[Store]) -> Result<InMemorySplit> {
    let mut whole: Option<InMemorySplit> = None;
    for (store, number) in stores.iter().zip(1..) {
        let mut split = store.load(Split::Train)?;
        for attack in &mut split.attacks {
            *attack = name(attack, number, stores.len());
        }
        whole = Some(match whole {
            None => split,
            Some(whole) => whole.with_samples_of(split).map_err(|reason| {
                let what = format!("training images of store {number}");
                Error::data(what, reason, "those of the first one")
            })?,
        });
    }
    Ok(whole.unwrap_or_default())
}

fn name(attack: &str, number: usize, stores: usize) -> String {
    match stores {
        1 => attack.to_string(),
        _ => format!("{number}/{attack}"),
    }
}

//! The store's surrogate, and the check whether a model was trained on a store's val images.

use base::{Error, Result};
use nn::{
    ComputeDevice,
    model::{Loaded, Metadata, Origin},
};
use store::Store;

/// The reason why a model's accuracy on a store's `val` images is invalid: it was trained on some of them.
pub fn val_was_trained_on(metadata: &Metadata, store: &Store) -> Option<String> {
    let (origin, spec) = (Origin::of(metadata)?, &store.meta().spec);
    origin.overlaps_val(&spec.source_hash, spec.seed).then(|| {
        format!(
            "trained with --seed {} on images that the store, with --seed {}, holds out as val",
            origin.split_seed, spec.seed
        )
    })
}

/// A store's surrogate, with its normalization.
pub fn surrogate(store: &Store, device: &ComputeDevice) -> Result<Loaded> {
    let model = store.model()?;
    let what = format!("the store's model {}", model.name);
    let config: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&model.config)
        .map_err(|error| Error::data(format!("{what}: config"), error, "a JSON object"))?;
    let text = |(key, value): (String, serde_json::Value)| Some((key, value.as_str()?.to_string()));
    let config = config.into_iter().filter_map(text).collect();
    Loaded::parse(&what, model.weights, config, None, device)
}

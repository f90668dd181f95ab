//! What makes a build what it is: the model that is attacked and the parameters, as the store keeps them.

use attacks::{AttackConfig, AttackKind};
use data::{Dataset, Split};
use nn::model::{Loaded, Metadata};
use store::{AttackRow, BuildSpec, ModelRow, Shard};

use crate::arguments::Build;

/// What a store keeps of a model's header.
const KEPT: [&str; 13] = [
    "architecture",
    "classes",
    "method",
    "epoch",
    "accuracy",
    "clean_accuracy",
    "seed",
    "data_hash",
    "source_hash",
    "split_seed",
    "code_version",
    "mean",
    "std",
];

/// The model to attack as the store keeps it.
pub fn surrogate(loaded: &Loaded) -> ModelRow {
    let description = loaded.network.describe();
    let text = |key: &str| loaded.metadata.get(key).cloned();
    let config: Metadata = KEPT
        .into_iter()
        .filter_map(|key| Some((key.to_string(), text(key)?)))
        .chain([("width".to_string(), description.width.to_string())])
        .collect();
    let config = serde_json::json!(config).to_string();
    ModelRow::new(description.to_string(), config, loaded.bytes.clone())
}

/// The identity of a build.
pub fn of(
    args: &Build,
    config: &AttackConfig,
    kinds: &[AttackKind],
    data: &Dataset,
    model: ModelRow,
    shard: Shard,
) -> BuildSpec {
    let part = |split| shard.range(data.split(split).len() as u64);
    let attack = |kind: &AttackKind| AttackRow {
        id: i64::from(kind.id()),
        name: kind.name().to_string(),
        params: config.params_json(*kind),
        model_id: model.id,
    };
    BuildSpec {
        dataset: data.name.clone(),
        classes: data.classes.clone(),
        source_hash: data.source_hash.clone(),
        seed: args.seed,
        preset: args.parameters.preset.to_string(),
        limit: args.limit.map(|limit| limit as u64),
        shard: shard.to_string(),
        images: Split::ALL.map(|split| part(split).end - part(split).start),
        generator_version: env!("CARGO_PKG_VERSION").to_string(),
        attacks: kinds.iter().map(attack).collect(),
        model,
    }
}

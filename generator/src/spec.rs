//! The specification of a build, as the store keeps it: data set, parameters, attacks, attacked model.

use attacks::{AttackConfig, AttackKind, Preset};
use data::{Dataset, Split};
use nn::model::{Loaded, Metadata};
use store::{AttackRow, BuildSpec, ModelRow, Shard};

/// The keys of the weights' metadata that a store keeps.
const KEPT_METADATA: [&str; 13] = [
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

/// The row of the attacked model.
pub fn surrogate(loaded: &Loaded) -> ModelRow {
    let description = loaded.network.describe();
    let text = |key: &str| loaded.metadata.get(key).cloned();
    let config: Metadata = KEPT_METADATA
        .into_iter()
        .filter_map(|key| Some((key.to_string(), text(key)?)))
        .chain([("width".to_string(), description.width.to_string())])
        .collect();
    let config = serde_json::json!(config).to_string();
    ModelRow::new(description.to_string(), config, loaded.bytes.clone())
}

/// What a build is made from, besides the model.
pub struct Inputs<'a> {
    /// Seed of every random number.
    pub seed: u64,
    /// Name of the preset.
    pub preset: Preset,
    /// `--limit`.
    pub limit: Option<usize>,
    /// The resolved attack parameters.
    pub config: &'a AttackConfig,
    /// The attacks to run, in the order of their ids.
    pub kinds: &'a [AttackKind],
    /// The data set.
    pub data: &'a Dataset,
    /// The part to do.
    pub shard: Shard,
    /// Content hash of the store at whose samples attacks begin.
    pub start: Option<&'a str>,
}

impl Inputs<'_> {
    /// An attack's parameters; its start is one, since it decides the samples.
    fn params(&self, kind: AttackKind) -> String {
        let params = self.config.params_json(kind);
        match self.start.filter(|_| kind.traits().takes_start) {
            None => params,
            // An object of JSON, which is never empty.
            Some(hash) => format!("{},\"start\":\"{hash}\"}}", params.trim_end_matches('}')),
        }
    }

    /// The specification that the store keeps, and that a resumed build must repeat.
    pub fn spec(&self, model: ModelRow) -> BuildSpec {
        let part = |split| self.shard.range(self.data.split(split).len() as u64);
        let attack = |kind: &AttackKind| AttackRow {
            id: i64::from(kind.id()),
            name: kind.name().to_string(),
            params: self.params(*kind),
            model_id: model.id,
        };
        BuildSpec {
            dataset: self.data.name.clone(),
            classes: self.data.classes.clone(),
            source_hash: self.data.source_hash.clone(),
            seed: self.seed,
            preset: self.preset.to_string(),
            limit: self.limit.map(|limit| limit as u64),
            shard: self.shard.to_string(),
            images: Split::ALL.map(|split| part(split).end - part(split).start),
            generator_version: env!("CARGO_PKG_VERSION").to_string(),
            attacks: self.kinds.iter().map(attack).collect(),
            model,
        }
    }
}

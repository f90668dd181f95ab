//! Build specification: everything that decides a store's content, and the comparison of two.

use serde::{Deserialize, Serialize};

use super::{
    file::StoreFile,
    rows::{AttackRow, ModelRow, sha256},
};
use base::{Error, Result};
use data::Split;

/// What a build was asked for: two builds of one specification have the same content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuildSpec {
    /// The data set's name: for people, and not compared.
    pub dataset: String,
    /// Names of the classes, in the order of the labels; not compared either.
    pub classes: Vec<String>,
    /// Hash of the data set's labels and images.
    pub source_hash: String,
    /// Seed of every random number.
    pub seed: u64,
    /// Preset that the parameters started from.
    pub preset: String,
    /// `--limit`.
    pub limit: Option<u64>,
    /// `--shard`, as `I/N`; `1/1` for the whole.
    pub shard: String,
    /// Images in this file's train, val and test.
    pub images: [u64; 3],
    /// Version of the program that builds.
    pub generator_version: String,
    /// The attacks in the order of their ids.
    pub attacks: Vec<AttackRow>,
    /// The surrogate.
    pub model: ModelRow,
}

/// Something in which two specifications differ.
pub(super) struct Difference {
    /// What it is, such as `seed`.
    pub(super) what: String,
    /// The values of both.
    pub(super) values: [String; 2],
}

impl BuildSpec {
    /// Images of all splits.
    pub fn image_count(&self) -> u64 {
        self.images.iter().fold(0, |sum, n| sum.saturating_add(*n))
    }

    /// Refuses a store of other images than those of this source hash, seed and `--limit`, by which all image ids are
    /// fixed; `what` names the store, `whose` the other side.
    ///
    /// # Errors
    /// [`Error::Data`] with the first difference, both values named.
    pub fn check_images(
        &self,
        what: &dyn std::fmt::Display,
        (source_hash, seed, limit): (&str, u64, Option<u64>),
        whose: &str,
    ) -> Result<()> {
        let limits = [self.limit, limit]
            .map(|limit| limit.map_or("none".to_string(), |limit| limit.to_string()));
        let [limit_found, limit_expected] = limits;
        for (fact, found, expected) in [
            (
                "source hash",
                self.source_hash.clone(),
                source_hash.to_string(),
            ),
            ("seed", self.seed.to_string(), seed.to_string()),
            ("limit", limit_found, limit_expected),
        ] {
            if found != expected {
                let expected = format!("{expected}, as {whose} has");
                return Err(Error::data(format!("{what}: {fact}"), found, expected));
            }
        }
        Ok(())
    }

    /// Refuses what no file could hold.
    pub(super) fn check(&self) -> Result<()> {
        let found = sha256(&self.model.weights);
        if found != self.model.sha256 {
            let what = format!("surrogate {}: sha256 of its weights", self.model.name);
            return Err(Error::data(what, found, &self.model.sha256));
        }
        if !self.attacks.is_sorted_by_key(|attack| attack.id) || self.attacks.is_empty() {
            return Err(Error::Usage("attacks must be at least one, by id".into()));
        }
        Ok(())
    }

    /// Refuses to resume a file of another specification.
    ///
    /// # Errors
    /// [`Error::Usage`] with the first difference, both values named.
    pub(super) fn check_same(&self, in_file: &Self, file: &StoreFile) -> Result<()> {
        match in_file.difference(self) {
            None => Ok(()),
            Some(Difference { what, values }) => {
                let [in_file, requested] = values;
                Err(Error::Usage(format!(
                    "{file}: {what}: the file has {in_file}, asked for {requested}; choose another --out or \
                     --force"
                )))
            }
        }
    }

    /// The first difference of two specifications.
    pub(super) fn difference(&self, other: &Self) -> Option<Difference> {
        let mut pairs = self.facts().into_iter().zip(other.facts());
        // The name of a preset is no content, but it explains best why parameters differ.
        let same_parameters = self.attacks == other.attacks;
        pairs.find_map(|((what, one), (_, other))| {
            let differs = one != other && !(what == "preset" && same_parameters);
            differs.then_some(Difference {
                what,
                values: [one, other],
            })
        })
    }

    /// Everything that is compared, in the order in which differences are reported. Names of attacks
    /// come before their parameters, so the lists of two specifications match up to a difference.
    fn facts(&self) -> Vec<(String, String)> {
        let attacks = self.attacks.iter();
        let names = attacks.map(|attack| format!("{} ({})", attack.name, attack.id));
        let names = names.collect::<Vec<_>>().join(", ");
        let limit = self.limit.map_or("none".into(), |limit| limit.to_string());
        let mut facts = vec![
            ("preset", self.preset.clone()),
            ("seed", self.seed.to_string()),
            ("limit", limit),
            ("shard", self.shard.clone()),
            ("source hash", self.source_hash.clone()),
            ("model", self.model.name.clone()),
            ("model's sha256", self.model.sha256.clone()),
            ("model's config", self.model.config.clone()),
            ("attacks", names),
            ("generator version", self.generator_version.clone()),
        ]
        .into_iter()
        .map(|(what, value)| (what.to_string(), value))
        .collect::<Vec<_>>();
        for split in Split::ALL {
            let images = self.images[split as usize];
            facts.push((format!("images in {split}"), images.to_string()));
        }
        for attack in &self.attacks {
            let what = format!("parameters of {}", attack.name);
            facts.push((what, attack.params.clone()));
        }
        facts
    }
}

//! Provenance of a model's training images, from its metadata: detects validation images that were trained on
//! under another split seed.

use super::Metadata;

/// The data set and the seed of the split that a model was trained on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Hash of the data set's images.
    pub source_hash: String,
    /// Seed of the split into train and val.
    pub split_seed: u64,
}

impl Origin {
    /// The origin that metadata state, if they state both parts.
    pub fn of(metadata: &Metadata) -> Option<Self> {
        Some(Self {
            source_hash: metadata.get("source_hash")?.clone(),
            split_seed: metadata.get("split_seed")?.parse().ok()?,
        })
    }

    /// Writes it into a model's metadata.
    pub fn write(&self, metadata: &mut Metadata) {
        metadata.insert("source_hash".into(), self.source_hash.clone());
        metadata.insert("split_seed".into(), self.split_seed.to_string());
    }

    /// Whether the model may have been trained on images of `val`, as `seed` splits this data set.
    pub fn overlaps_val(&self, source_hash: &str, seed: u64) -> bool {
        self.source_hash == source_hash && self.split_seed != seed
    }
}

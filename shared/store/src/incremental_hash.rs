//! Incremental content hash of rows that are inserted in the order of ids, which need not be read again then.

use super::{
    hash::{SplitDigest, SplitHashes},
    rows::{AttackRow, ImageRow, SampleRow},
};

/// Hash of images in the order of their ids, each with a sample of every attack.
#[derive(Debug)]
pub(super) struct IncrementalHash {
    attacks: Vec<i64>,
    last_id: Option<u64>,
    hashes: SplitHashes,
}

impl IncrementalHash {
    /// Of no images.
    pub(super) fn new(attacks: &[AttackRow]) -> Self {
        Self {
            attacks: attacks.iter().map(|attack| attack.id).collect(),
            last_id: None,
            hashes: SplitHashes::new(),
        }
    }

    /// With these rows; `None` if an image is out of order or a sample is missing.
    pub(super) fn add(mut self, images: &[ImageRow], mut samples: &[SampleRow]) -> Option<Self> {
        for image in images {
            let of_image = |sample: &&SampleRow| sample.image_id == image.id;
            let count = samples.iter().take_while(of_image).count();
            let own = samples.split_off(..count)?;
            let attacks = own.iter().map(|sample| sample.attack_id);
            if self.last_id >= Some(image.id) || !attacks.eq(self.attacks.iter().copied()) {
                return None;
            }
            self.last_id = Some(image.id);
            self.hashes.add(image, own);
        }
        samples.is_empty().then_some(self)
    }

    /// As [`SplitHashes::digests`].
    pub(super) fn digests(self) -> [SplitDigest; 3] {
        self.hashes.digests()
    }
}

//! Rows that are written one after the other come in, what they add up to goes out: so they need not
//! be read again for the hashes.

use super::{
    hash::SplitHashes,
    rows::{AttackRow, ImageRow, SampleRow},
};

/// Images in the order of their ids, each with a sample of every attack.
#[derive(Debug)]
pub(super) struct Running {
    attacks: Vec<i64>,
    last: Option<u64>,
    hashes: SplitHashes,
}

impl Running {
    /// None so far.
    pub(super) fn new(attacks: &[AttackRow]) -> Self {
        Self {
            attacks: attacks.iter().map(|attack| attack.id).collect(),
            last: None,
            hashes: SplitHashes::new(),
        }
    }

    /// With these rows; nothing if an image is out of order or a sample is missing.
    pub(super) fn add(mut self, images: &[ImageRow], mut samples: &[SampleRow]) -> Option<Self> {
        for image in images {
            let of_image = |sample: &&SampleRow| sample.image_id == image.id;
            let count = samples.iter().take_while(of_image).count();
            let own = samples.split_off(..count)?;
            let attacks = own.iter().map(|sample| sample.attack_id);
            if self.last >= Some(image.id) || !attacks.eq(self.attacks.iter().copied()) {
                return None;
            }
            self.last = Some(image.id);
            self.hashes.add(image, own);
        }
        samples.is_empty().then_some(self)
    }

    /// As [`SplitHashes::hex`].
    pub(super) fn hex(self) -> [(u64, String); 3] {
        self.hashes.hex()
    }
}

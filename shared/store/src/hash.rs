//! Content hash: BLAKE3 of the splits, the attacks' parameters and the surrogate, in lower-case hex.
//!
//! Everything hashed is a sequence of two kinds of fields: a *number*, 8 bytes, little-endian, and a
//! *text* (strings in UTF-8, blobs, pixels), its length as a number and then its bytes.
//!
//! The hash of a split is that of
//!
//! - text "mithridate split 1", text `train`, `val` or `test`;
//! - for each image of the split in the order of its id: numbers id, source_index, label; text
//!   pixels; numbers clean_pred, count of its samples; and for each sample in the order of attack
//!   ids: number attack id; text pixels; numbers pred, pred_float, the bits of l2 and of linf
//!   (IEEE 754 doubles), steps.
//!
//! The content hash is that of
//!
//! - text "mithridate content 2"; text source_hash; number seed;
//! - texts sha256 (hex) and config of the surrogate (the first stands for its weights);
//! - number of attacks, and for each in the order of ids: number id, texts name, params;
//! - for `train`, `val`, `test` in this order: text, the split's hash in hex.
//!
//! Names (of the data set, its files and classes, of the preset), times, paths, page layout, device, shard,
//! limit and versions of programs are in neither: equal content has an equal hash.

use super::{
    rows::{ImageRow, SampleRow},
    spec::BuildSpec,
};
use data::Split;

/// Bytes that are hashed at a time: with so many, a power of two, BLAKE3 uses SIMD.
const CHUNK_BYTES: usize = 1 << 17;

/// Hasher of a sequence of fields.
#[derive(Debug)]
struct FieldHasher {
    hasher: blake3::Hasher,
    pending: Vec<u8>,
}

impl FieldHasher {
    fn new(kind: &str) -> Self {
        let mut fields = Self {
            hasher: blake3::Hasher::new(),
            pending: Vec::new(),
        };
        fields.text(kind);
        fields
    }

    fn number(&mut self, number: u64) {
        self.pending.extend_from_slice(&number.to_le_bytes());
    }

    fn text(&mut self, text: impl AsRef<[u8]>) {
        self.number(text.as_ref().len() as u64);
        self.pending.extend_from_slice(text.as_ref());
    }

    /// Hashes a chunk if a whole one is pending.
    fn flush(&mut self) {
        if self.pending.len() >= CHUNK_BYTES {
            self.hasher.update(&self.pending[..CHUNK_BYTES]);
            self.pending.drain(..CHUNK_BYTES);
        }
    }

    fn hex(mut self) -> String {
        self.hasher.update(&self.pending);
        self.hasher.finalize().to_hex().to_string()
    }
}

/// The number of a split's images, and their hash in hex.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SplitDigest {
    pub(super) images: u64,
    pub(super) hash: String,
}

/// Hashers of train, val and test, with the number of their images so far.
#[derive(Debug)]
pub(super) struct SplitHashes([(u64, FieldHasher); 3]);

impl SplitHashes {
    pub(super) fn new() -> Self {
        Self(Split::ALL.map(|split| {
            let mut fields = FieldHasher::new("mithridate split 1");
            fields.text(split.name());
            (0, fields)
        }))
    }

    /// Adds the next image and its samples, both in the order of their ids.
    pub(super) fn add(&mut self, image: &ImageRow, samples: &[SampleRow]) {
        let (images, fields) = &mut self.0[image.split as usize];
        *images += 1;
        fields.number(image.id);
        fields.number(u64::from(image.source_index));
        fields.number(u64::from(image.label));
        fields.text(&*image.pixels);
        fields.number(u64::from(image.clean_pred));
        fields.number(samples.len() as u64);
        for sample in samples {
            fields.number(sample.attack_id.cast_unsigned());
            fields.text(&*sample.pixels);
            fields.number(u64::from(sample.pred));
            fields.number(u64::from(sample.pred_float));
            fields.number(sample.l2.to_bits());
            fields.number(sample.linf.to_bits());
            fields.number(u64::from(sample.steps));
        }
        fields.flush();
    }

    pub(super) fn digests(self) -> [SplitDigest; 3] {
        self.0.map(|(images, fields)| SplitDigest {
            images,
            hash: fields.hex(),
        })
    }
}

/// The content hash of a specification, whose model may lack its weights, and of the hashes of train,
/// val and test.
pub(super) fn content(spec: &BuildSpec, split_hashes: [&str; 3]) -> String {
    let mut fields = FieldHasher::new("mithridate content 2");
    fields.text(&spec.source_hash);
    fields.number(spec.seed);
    fields.text(&spec.model.sha256);
    fields.text(&spec.model.config);
    fields.number(spec.attacks.len() as u64);
    for attack in &spec.attacks {
        fields.number(attack.id.cast_unsigned());
        fields.text(&attack.name);
        fields.text(&attack.params);
    }
    for hash in split_hashes {
        fields.text(hash);
    }
    fields.hex()
}

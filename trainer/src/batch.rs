//! Batches: rows of a table in memory come in, tensors on the device go out.

use candle_core::{Device, Tensor};
use rayon::prelude::*;
use shared::{
    Result,
    cifar10::{PIXELS, Picture},
    random::Stream,
    store::Table,
};

use crate::augment::Augment;

/// Pictures of one step.
pub struct Batch {
    /// `[B,3,32,32]`, f32 in `[0,1]`.
    pub images: Tensor,
    /// `B` true classes.
    pub labels: Vec<u8>,
    /// `B` variants: 0 clean, `1 + i` the store's i-th attack.
    pub variants: Vec<usize>,
    /// Steps before this one in the whole run: the key of what is random in it.
    pub step: u64,
}

impl Batch {
    /// The labels as `[B]` u32.
    pub fn targets(&self) -> Result<Tensor> {
        classes(self.labels.iter().copied(), self.images.device())
    }

    /// 1 where the picture is adversarial, as `[B]` u32.
    pub fn attacked(&self) -> Result<Tensor> {
        let attacked = self.variants.iter().map(|variant| u8::from(*variant > 0));
        classes(attacked, self.images.device())
    }
}

/// Class numbers as `[B]` u32.
fn classes(classes: impl Iterator<Item = u8>, device: &Device) -> Result<Tensor> {
    let classes: Vec<u32> = classes.map(u32::from).collect();
    Ok(Tensor::new(classes, device)?)
}

/// Augments `(row, variant)` of a table. What happens to a picture depends on the seed, the epoch
/// and its id alone.
pub fn augmented(
    table: &Table,
    rows: &[(usize, usize)],
    augment: &Augment,
    (seed, epoch): (u64, u64),
    device: &Device,
) -> Result<Tensor> {
    let mut floats = vec![0.0; rows.len() * PIXELS];
    floats
        .par_chunks_exact_mut(PIXELS)
        .zip(rows)
        .for_each(|(out, &(row, variant))| {
            let mut stream = Stream::new(seed, "augment", &[epoch, table.ids[row]]);
            augment.apply(table.variant(row, variant), out, &mut stream);
        });
    Ok(Tensor::from_vec(floats, (rows.len(), 3, 32, 32), device)?)
}

/// `(row, variant)` of a table as they are.
pub fn plain(table: &Table, rows: &[(usize, usize)], device: &Device) -> Result<Tensor> {
    let bytes = rows
        .iter()
        .flat_map(|&(row, variant)| table.variant(row, variant));
    let floats: Vec<f32> = bytes.map(|&byte| f32::from(byte) / 255.0).collect();
    Ok(Tensor::from_vec(floats, (rows.len(), 3, 32, 32), device)?)
}

/// Clean pictures as a table without attacks, ids counted from `first`.
pub fn clean_table(pictures: &[Picture], first: u64) -> Table {
    Table {
        ids: (first..).take(pictures.len()).collect(),
        labels: pictures.iter().map(|picture| picture.label).collect(),
        pixels: pictures.iter().flat_map(|p| p.pixels.to_vec()).collect(),
        ..Table::default()
    }
}

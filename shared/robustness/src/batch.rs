//! Batch of images under evaluation: clean pixels on the host, labels and ids.

use data::IMAGE_BYTES;

/// Clean images with what their attacks depend on.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// `B * 3072` numbers in `[0,1]`.
    pub clean: Vec<f32>,
    /// The true classes.
    pub labels: Vec<u8>,
    /// The keys of the images' random numbers.
    pub ids: Vec<u64>,
}

impl Batch {
    /// How many images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The clean pixels of one image.
    pub fn image(&self, row: usize) -> &[f32] {
        &self.clean[row * IMAGE_BYTES..(row + 1) * IMAGE_BYTES]
    }

    /// These images, in this order.
    pub fn select(&self, rows: &[usize]) -> Self {
        Self {
            clean: rows
                .iter()
                .flat_map(|&row| self.image(row))
                .copied()
                .collect(),
            labels: rows.iter().map(|&row| self.labels[row]).collect(),
            ids: rows.iter().map(|&row| self.ids[row]).collect(),
        }
    }
}

//! Column-wise encoding of a block of images and their samples, and its decoding.

use std::io::{self, Read, Write};

use super::{
    super::rows::{ImageRow, SampleRow},
    reader::PackedReader,
};
use base::Result;
use data::{IMAGE_BYTES, Split};

/// Images and their samples, one of every attack.
#[derive(Default)]
pub(super) struct Block {
    pub(super) images: Vec<ImageRow>,
    /// `[images, attacks]`.
    pub(super) samples: Vec<Vec<SampleRow>>,
}

impl Block {
    /// Writes column by column, since equal kinds of values side by side compress better.
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let images = &self.images;
        column(out, images, |image| image.id.to_le_bytes())?;
        column(out, images, |image| image.source_index.to_le_bytes())?;
        column(out, images, |image| [image.label, image.clean_pred])?;
        for image in images {
            out.write_all(&image.pixels)?;
        }
        let attacks = self.samples.first().map_or(0, Vec::len);
        for attack in 0..attacks {
            let samples: Vec<&SampleRow> = self.samples.iter().map(|row| &row[attack]).collect();
            column(out, &samples, |sample| [sample.pred, sample.pred_float])?;
            column(out, &samples, |sample| sample.l2.to_le_bytes())?;
            column(out, &samples, |sample| sample.linf.to_le_bytes())?;
            column(out, &samples, |sample| sample.steps.to_le_bytes())?;
            for (sample, image) in std::iter::zip(&samples, images) {
                out.write_all(&map_bytes(&sample.pixels, &image.pixels, u8::wrapping_sub))?;
            }
        }
        Ok(())
    }

    /// Reads `count` images of a split, and their samples attack by attack.
    pub(super) fn read(
        input: &mut PackedReader<impl Read>,
        split: Split,
        count: usize,
        attacks: &[i64],
    ) -> Result<(Vec<ImageRow>, Vec<SampleRow>)> {
        let ids = input.ids(count)?;
        let indices = input.column(count, u32::from_le_bytes)?;
        let classes = input.column(count, |classes: [u8; 2]| classes)?;
        let images = (0..count).map(|i| {
            Ok(ImageRow {
                id: ids[i],
                split,
                source_index: indices[i],
                label: classes[i][0],
                pixels: input.array::<IMAGE_BYTES>()?.into(),
                clean_pred: classes[i][1],
            })
        });
        let images = images.collect::<Result<Vec<_>>>()?;
        let mut samples = Vec::new();
        for &attack_id in attacks {
            let classes = input.column(count, |classes: [u8; 2]| classes)?;
            let l2 = input.column(count, f64::from_le_bytes)?;
            let linf = input.column(count, f64::from_le_bytes)?;
            let steps = input.column(count, u32::from_le_bytes)?;
            for (i, image) in images.iter().enumerate() {
                let differences = input.array::<IMAGE_BYTES>()?;
                samples.push(SampleRow {
                    image_id: image.id,
                    attack_id,
                    pixels: map_bytes(&differences, &image.pixels, u8::wrapping_add).into(),
                    pred: classes[i][0],
                    pred_float: classes[i][1],
                    l2: l2[i],
                    linf: linf[i],
                    steps: steps[i],
                });
            }
        }
        Ok((images, samples))
    }
}

fn column<T, const N: usize>(
    out: &mut impl Write,
    rows: &[T],
    value: impl Fn(&T) -> [u8; N],
) -> io::Result<()> {
    let bytes: Vec<u8> = rows.iter().flat_map(value).collect();
    out.write_all(&bytes)
}

fn map_bytes(a: &[u8], b: &[u8], f: impl Fn(u8, u8) -> u8) -> Vec<u8> {
    std::iter::zip(a, b).map(|(&a, &b)| f(a, b)).collect()
}

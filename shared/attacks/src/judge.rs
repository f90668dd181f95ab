//! From an attack to what a store keeps: a batch comes in, 8-bit samples with the model's verdict
//! on exactly those bytes go out.

use candle_core::Tensor;

use super::{
    Attack, AttackBatch, Perturbed, gradient, logits, quantize,
    repair::{Lost, repair},
};
use base::{Error, Result};
use data::IMAGE_BYTES;
use kernels::distances;
use nn::model::Classifier;

/// A perturbed image as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// [`PIXELS`] bytes, planar R, G, B.
    pub pixels: Vec<u8>,
    /// What the model takes these bytes for.
    pub pred: u8,
    /// What the model took the clipped floats for, before rounding.
    pub pred_float: u8,
    /// L2 distance of the bytes to the clean bytes, in `[0,1]` units.
    pub l2: f64,
    /// Linf distance of the bytes to the clean bytes, in `[0,1]` units.
    pub linf: f64,
    /// Steps the attack took.
    pub steps: u32,
}

/// Attacks a batch, clips to `[0,1]`, rounds to 8 bits and judges the bytes. Where only the floats
/// fool the model, as few pixels as needed go one level further from the clean image
/// (`repair`), which may pass a bound of the attack by that level, or two or
/// three where one is not enough. `clean_bytes` are the
/// `B` clean images, of which `batch.images` is `byte / 255`.
///
/// # Errors
/// [`Error::Data`] when the parts do not fit; [`Error::NonFinite`], naming the image, when the
/// attack leaves a pixel, a logit or a gradient that is not finite.
pub fn run(
    attack: &dyn Attack,
    net: &dyn Classifier,
    batch: &AttackBatch,
    clean_bytes: &[u8],
) -> Result<Vec<Sample>> {
    batch.check()?;
    let size = batch.ids.len();
    if clean_bytes.len() != size * IMAGE_BYTES {
        let (found, expected) = (clean_bytes.len(), size * IMAGE_BYTES);
        return Err(Error::data("bytes of the clean batch", found, expected));
    }
    if size == 0 {
        return Ok(Vec::new());
    }
    let perturbed = attack.perturb(net, batch)?;
    let images = clipped(&perturbed, batch)?;
    let predict = |images: &Tensor| -> Result<Vec<u8>> {
        let rows = logits::rows(&net.logits(images)?, batch.ids)?;
        Ok(rows.iter().map(logits::predicted).collect())
    };
    let pred_float = predict(&images)?;
    let device = batch.images.device();
    let floats = images.flatten_all()?.to_vec1::<f32>()?;
    let mut bytes = quantize::round(&floats);
    let mut pred = predict(&quantize::to_tensor(&bytes, device)?)?;

    let clean = batch.images.flatten_all()?.to_vec1::<f32>()?;
    let lost = (0..size)
        .filter(|&row| pred_float[row] != batch.labels[row] && pred[row] == batch.labels[row])
        .map(|row| {
            let pixels = row * IMAGE_BYTES..(row + 1) * IMAGE_BYTES;
            Lost {
                row,
                id: batch.ids[row],
                label: batch.labels[row],
                bytes: bytes[pixels.clone()].to_vec(),
                clean: clean_bytes[pixels.clone()].to_vec(),
                outward: std::iter::zip(&floats[pixels.clone()], &clean[pixels])
                    .map(|(x, clean)| i8::from(x > clean) - i8::from(x < clean))
                    .collect(),
            }
        })
        .collect();
    for repaired in repair(net, device, lost)? {
        let row = repaired.row;
        bytes[row * IMAGE_BYTES..(row + 1) * IMAGE_BYTES].copy_from_slice(&repaired.bytes);
        pred[row] = repaired.pred;
    }

    let pictures = bytes
        .chunks_exact(IMAGE_BYTES)
        .zip(clean_bytes.chunks_exact(IMAGE_BYTES));
    Ok(pictures
        .enumerate()
        .map(|(row, (pixels, clean))| {
            let (l2, linf) = distances(pixels, clean);
            Sample {
                pixels: pixels.to_vec(),
                pred: pred[row],
                pred_float: pred_float[row],
                l2,
                linf,
                steps: perturbed.steps[row],
            }
        })
        .collect())
}

/// The attack's images in `[0,1]`, once they are known to be images.
fn clipped(perturbed: &Perturbed, batch: &AttackBatch) -> Result<Tensor> {
    let images = &perturbed.images;
    if perturbed.steps.len() != batch.ids.len() {
        let (found, expected) = (perturbed.steps.len(), batch.ids.len());
        return Err(Error::data("steps of perturbed images", found, expected));
    }
    if images.dims() != batch.images.dims() {
        let expected = format!("{:?}", batch.images.dims());
        return Err(Error::data(
            "perturbed images",
            format!("{:?}", images.dims()),
            expected,
        ));
    }
    match gradient::finite_rows(images)?
        .iter()
        .position(|finite| !finite)
    {
        None => Ok(images.clamp(0f32, 1f32)?),
        Some(row) => Err(Error::NonFinite(format!(
            "image {}: the attack left a pixel that is not finite",
            batch.ids[row]
        ))),
    }
}

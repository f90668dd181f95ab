//! Generation of stored samples: attack, clip, quantize to 8 bits and classify the bytes.

use candle_core::Tensor;

use super::{
    Attack, AttackBatch, Perturbed, gradient, logits, quantize,
    requantize::{QuantizationFailure, restore_success},
};
use base::{Error, Result};
use data::{IMAGE_BYTES, Sample};
use kernels::distances;
use nn::model::Classifier;

/// Attacks a batch, clips to `[0,1]`, quantizes to 8 bits and classifies the bytes. No byte is outside the attack's Linf ball
/// ([`Attack::radius`]), which may be no whole number of levels. FGSM has none: its step is rounded to the nearest level.
///
/// Where the floats fool the model and the bytes do not, as few pixels as needed go one level further from the clean
/// image, or two or three where one is not enough (`requantize`), within the ball.
///
/// # Errors
/// [`Error::Data`] when a label is none of the model's classes; [`Error::NonFinite`], naming the
/// image, when the attack leaves a pixel, a logit or a gradient that is not finite.
pub fn generate(
    attack: &dyn Attack,
    model: &dyn Classifier,
    batch: &AttackBatch,
) -> Result<Vec<Sample>> {
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    nn::retry_out_of_memory(batch.device(), || generate_once(attack, model, batch))
}

fn generate_once(
    attack: &dyn Attack,
    model: &dyn Classifier,
    batch: &AttackBatch,
) -> Result<Vec<Sample>> {
    let perturbed = attack.perturb(model, batch)?;
    let images = clipped(&perturbed, batch)?;
    let predict = |images: &Tensor| -> Result<Vec<u8>> {
        let rows = logits::rows(&model.logits(images)?, batch.ids(), batch.labels())?;
        Ok(rows.iter().map(|row| logits::argmax(row)).collect())
    };
    let pred_float = predict(&images)?;
    let floats = images.flatten_all()?.to_vec1::<f32>()?;
    let mut bytes = quantize::round(&floats);
    let levels = attack.radius().map_or(u8::MAX, quantize::levels);
    quantize::clamp(&mut bytes, batch.pixels(), levels);
    let mut pred = predict(&quantize::to_tensor(&bytes, batch.device())?)?;

    let labels = batch.labels();
    let failures = (0..batch.len())
        .filter(|&row| pred_float[row] != labels[row] && pred[row] == labels[row])
        .map(|row| {
            let pixels = row * IMAGE_BYTES..(row + 1) * IMAGE_BYTES;
            let clean = &batch.pixels()[pixels.clone()];
            QuantizationFailure {
                row,
                id: batch.ids()[row],
                label: labels[row],
                bytes: bytes[pixels.clone()].to_vec(),
                clean: clean.to_vec(),
                levels,
                direction: std::iter::zip(&floats[pixels], clean)
                    .map(|(&x, &byte)| {
                        let clean = quantize::to_float(byte);
                        i8::from(x > clean) - i8::from(x < clean)
                    })
                    .collect(),
            }
        })
        .collect();
    for restored in restore_success(model, batch.len(), batch.device(), failures)? {
        let row = restored.row;
        bytes[row * IMAGE_BYTES..(row + 1) * IMAGE_BYTES].copy_from_slice(&restored.bytes);
        pred[row] = restored.pred;
    }

    let images = bytes
        .chunks_exact(IMAGE_BYTES)
        .zip(batch.pixels().chunks_exact(IMAGE_BYTES));
    Ok(images
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

/// The attack's images clipped to `[0,1]`, after a check of their shape and their finiteness.
fn clipped(perturbed: &Perturbed, batch: &AttackBatch) -> Result<Tensor> {
    let images = &perturbed.images;
    if perturbed.steps.len() != batch.len() {
        let (found, expected) = (perturbed.steps.len(), batch.len());
        return Err(Error::data("steps of perturbed images", found, expected));
    }
    let shape = batch.images().dims();
    if images.dims() != shape {
        let (found, expected) = (format!("{:?}", images.dims()), format!("{shape:?}"));
        return Err(Error::data("perturbed images", found, expected));
    }
    match gradient::finite_rows(images)?
        .iter()
        .position(|finite| !finite)
    {
        None => Ok(images.clamp(0f32, 1f32)?),
        Some(row) => Err(Error::NonFinite(format!(
            "image {}: the attack left a pixel that is not finite",
            batch.ids()[row]
        ))),
    }
}

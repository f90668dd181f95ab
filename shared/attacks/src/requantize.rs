//! Requantization: images whose attack succeeded as floats and failed after rounding to 8 bits
//! succeed again, with as few pixels as needed moved one level away from the clean image.
//!
//! The gradient of the margin ranks the pixels by how much moving them lowers the margin for the
//! distance it adds, and a bisection finds how many of the first are enough.

use candle_core::{Device, Tensor};

use super::{
    gradient, logits,
    padding::{PaddedModel, Padding},
    quantize,
};
use base::Result;
use data::IMAGE_BYTES;
use nn::model::Classifier;

/// How often the gradient is computed anew, at the bytes of the last round.
const ROUNDS: usize = 3;

/// An image that fools the model as floats and not as bytes.
pub struct QuantizationFailure {
    /// Its row in the batch.
    pub row: usize,
    /// Its id, for errors.
    pub id: u64,
    /// Its true class.
    pub label: u8,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The clean bytes.
    pub clean: Vec<u8>,
    /// Levels that a byte may be away from the clean one.
    pub levels: u8,
    /// Sign of the perturbation in each pixel, as floats: -1, 0 or 1.
    pub direction: Vec<i8>,
}

/// An image that fools the model again.
pub struct Restored {
    /// Its row in the batch.
    pub row: usize,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The model's prediction on them.
    pub pred: u8,
}

/// Restores the success of as many images of a batch of `size` as possible; the others are missing from the result.
pub fn restore_success(
    model: &dyn Classifier,
    size: usize,
    device: &Device,
    mut failures: Vec<QuantizationFailure>,
) -> Result<Vec<Restored>> {
    let model = &PaddedModel::new(model, Padding::new(size, device));
    let mut restored = Vec::new();
    for _ in 0..ROUNDS {
        if failures.is_empty() {
            break;
        }
        let ranked = rank_pixels(model, device, failures)?;
        let (succeeded, failed) = restore_round(model, device, ranked)?;
        restored.extend(succeeded);
        failures = failed;
    }
    Ok(restored)
}

/// A failed image and its pixels that can move, the best ratio of margin to distance first.
struct RankedPixels {
    image: QuantizationFailure,
    ranking: Vec<u16>,
    /// How many of the first lower the margin, by the gradient.
    helpful: usize,
    /// The most moves known to be too few.
    too_few: usize,
    /// The fewest moves known to be enough.
    enough: usize,
    /// The model's prediction after `enough` moves.
    pred: u8,
}

impl RankedPixels {
    fn new(image: QuantizationFailure, gradient: &[f32]) -> Self {
        // By how much a move lowers the margin.
        let decrease = |pixel: u16| {
            -gradient[usize::from(pixel)] * f32::from(image.direction[usize::from(pixel)])
        };
        let mut ranking: Vec<u16> = (0..IMAGE_BYTES as u16)
            .filter(|&pixel| match image.direction[usize::from(pixel)] {
                0 => false,
                direction => image.bytes[usize::from(pixel)]
                    .checked_add_signed(direction)
                    .is_some_and(|moved| {
                        moved.abs_diff(image.clean[usize::from(pixel)]) <= image.levels
                    }),
            })
            .collect();
        // From k levels to k + 1 the squared distance grows by 2k + 1.
        let ratio = |pixel: u16| {
            let (byte, clean) = (
                image.bytes[usize::from(pixel)],
                image.clean[usize::from(pixel)],
            );
            decrease(pixel) / (2.0 * f32::from(byte.abs_diff(clean)) + 1.0)
        };
        ranking.sort_by(|&a, &b| ratio(b).total_cmp(&ratio(a)));
        let helpful = ranking.partition_point(|&pixel| decrease(pixel) > 0.0);
        Self {
            helpful,
            ranking,
            too_few: 0,
            enough: 0,
            pred: image.label,
            image,
        }
    }

    /// The bytes with the first `moves` of the ranking moved.
    fn moved(&self, moves: usize) -> Vec<u8> {
        let mut bytes = self.image.bytes.clone();
        for &pixel in &self.ranking[..moves] {
            let pixel = usize::from(pixel);
            bytes[pixel] = bytes[pixel].saturating_add_signed(self.image.direction[pixel]);
        }
        bytes
    }
}

/// Ranks every image's pixels by the margin's gradient at its present bytes.
fn rank_pixels(
    model: &dyn Classifier,
    device: &Device,
    failures: Vec<QuantizationFailure>,
) -> Result<Vec<RankedPixels>> {
    let (ids, labels) = ids_and_labels(failures.iter());
    let bytes: Vec<u8> = failures.iter().flat_map(|f| f.bytes.clone()).collect();
    let pixels = gradient::variable(&quantize::to_tensor(&bytes, device)?)?;
    let logits = model.logits(&pixels)?;
    let margin_grads: Vec<_> = std::iter::zip(logits::rows(&logits, &ids, &labels)?, &labels)
        .map(|(row, &label)| {
            let other = logits::runner_up(&row, label);
            [(usize::from(label), 1.0), (other, -1.0)]
        })
        .collect();
    let grad_logits = logits::sparse_grad(&margin_grads, logits.dim(1)?, device)?;
    let gradients = gradient::vjp(&pixels, &logits, &grad_logits, &ids)?;
    let gradients = gradients.flatten_all()?.to_vec1::<f32>()?;
    let ranked = std::iter::zip(failures, gradients.chunks_exact(IMAGE_BYTES));
    Ok(ranked
        .map(|(image, gradient)| RankedPixels::new(image, gradient))
        .collect())
}

/// One round: moves all helpful pixels, else all that can move; then bisects to as few as needed.
/// Images that still fail continue from their helpful moves.
fn restore_round(
    model: &dyn Classifier,
    device: &Device,
    ranked: Vec<RankedPixels>,
) -> Result<(Vec<Restored>, Vec<QuantizationFailure>)> {
    let (mut open, rest) = try_moves(model, device, ranked, |r| r.helpful)?;
    let (more, rest) = try_moves(model, device, rest, |r| r.ranking.len())?;
    open.extend(more);

    let mut restored = Vec::with_capacity(open.len());
    loop {
        let (done, halving): (Vec<_>, Vec<_>) =
            open.into_iter().partition(|r| r.enough - r.too_few <= 1);
        restored.extend(done.iter().map(|r| Restored {
            row: r.image.row,
            bytes: r.moved(r.enough),
            pred: r.pred,
        }));
        if halving.is_empty() {
            break;
        }
        let (fewer, more) = try_moves(model, device, halving, |r| {
            usize::midpoint(r.too_few, r.enough)
        })?;
        open = fewer.into_iter().chain(more).collect();
    }
    let failed = rest.into_iter().map(|r| QuantizationFailure {
        bytes: r.moved(r.helpful),
        ..r.image
    });
    Ok((restored, failed.collect()))
}

/// Tries this number of moves of each image and records whether they are enough: returns first
/// the images for which they are, then the others.
fn try_moves(
    model: &dyn Classifier,
    device: &Device,
    ranked: Vec<RankedPixels>,
    moves: impl Fn(&RankedPixels) -> usize,
) -> Result<(Vec<RankedPixels>, Vec<RankedPixels>)> {
    let (mut succeeded, mut failed) = (Vec::new(), Vec::new());
    if ranked.is_empty() {
        return Ok((succeeded, failed));
    }
    let (ids, labels) = ids_and_labels(ranked.iter().map(|r| &r.image));
    let bytes: Vec<u8> = ranked.iter().flat_map(|r| r.moved(moves(r))).collect();
    let images: Tensor = quantize::to_tensor(&bytes, device)?;
    let rows = logits::rows(&model.logits(&images)?, &ids, &labels)?;
    for (mut r, row) in std::iter::zip(ranked, rows) {
        let (moves, pred) = (moves(&r), logits::argmax(&row));
        if pred == r.image.label {
            r.too_few = moves;
            failed.push(r);
        } else {
            (r.enough, r.pred) = (moves, pred);
            succeeded.push(r);
        }
    }
    Ok((succeeded, failed))
}

fn ids_and_labels<'a>(
    images: impl Iterator<Item = &'a QuantizationFailure>,
) -> (Vec<u64>, Vec<u8>) {
    images.map(|image| (image.id, image.label)).unzip()
}

//! Images that rounding to 8 bits made harmless: their bytes come in; bytes that fool the model
//! again go out, with as few pixels as needed moved one level away from the clean image.
//!
//! The gradient of the margin ranks the pixels by how much moving them helps for the distance
//! it adds, and a bisection finds how many of the first are enough.

use candle_core::Device;

use super::{
    gradient,
    logits::{self, Row},
    quantize,
};
use base::Result;
use data::IMAGE_BYTES;
use nn::model::Classifier;

/// After each round the gradient is asked again, where the last one led.
const ROUNDS: usize = 3;

/// An image that fooled the model as floats and does not as bytes.
pub struct Lost {
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
    /// The way of the perturbation in each pixel, as floats: -1, 1, or 0 where there is none.
    pub outward: Vec<i8>,
}

/// An image that fools the model again.
pub struct Repaired {
    /// Its row in the batch.
    pub row: usize,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What the model takes them for.
    pub pred: u8,
}

/// Repairs what can be repaired; the others are missing from the result.
pub fn repair(net: &dyn Classifier, device: &Device, mut lost: Vec<Lost>) -> Result<Vec<Repaired>> {
    let mut repaired = Vec::new();
    for _ in 0..ROUNDS {
        if lost.is_empty() {
            break;
        }
        let (mended, still_lost) = round(net, device, rank(net, device, lost)?)?;
        repaired.extend(mended);
        lost = still_lost;
    }
    Ok(repaired)
}

/// A lost image and its pixels that can move, those worth most first.
struct Ranked {
    lost: Lost,
    ranking: Vec<u16>,
    /// So many of them help, says the gradient.
    helpful: usize,
    /// So many moves are known to be too few,
    too_few: usize,
    /// and so many to be enough,
    enough: usize,
    /// since the model then says this.
    pred: u8,
}

impl Ranked {
    /// The bytes with the first `moves` of the ranking moved.
    fn moved(&self, moves: usize) -> Vec<u8> {
        let mut bytes = self.lost.bytes.clone();
        for &pixel in &self.ranking[..moves] {
            let pixel = usize::from(pixel);
            bytes[pixel] = bytes[pixel].saturating_add_signed(self.lost.outward[pixel]);
        }
        bytes
    }
}

/// Ranks every image's pixels at its present bytes.
fn rank(net: &dyn Classifier, device: &Device, lost: Vec<Lost>) -> Result<Vec<Ranked>> {
    let ids: Vec<u64> = lost.iter().map(|lost| lost.id).collect();
    let bytes: Vec<u8> = lost.iter().flat_map(|l| l.bytes.iter().copied()).collect();
    let pixels = gradient::variable(&quantize::to_tensor(&bytes, device)?)?;
    let logits = net.logits(&pixels)?;
    let slopes: Vec<_> = std::iter::zip(logits::rows(&logits, &ids)?, &lost)
        .map(|(row, lost)| {
            let other = logits::runner_up(&row, lost.label);
            [(usize::from(lost.label), 1.0), (other, -1.0)]
        })
        .collect();
    let slope = logits::slopes(&slopes, device)?;
    let gradients = gradient::pull_back(&pixels, &logits, &slope, &ids)?;
    let gradients = gradients.flatten_all()?.to_vec1::<f32>()?;
    let ranked = std::iter::zip(lost, gradients.chunks_exact(IMAGE_BYTES));
    Ok(ranked
        .map(|(lost, gradient)| rank_one(lost, gradient))
        .collect())
}

fn rank_one(lost: Lost, gradient: &[f32]) -> Ranked {
    // How much a move lowers the margin.
    let help =
        |pixel: u16| -gradient[usize::from(pixel)] * f32::from(lost.outward[usize::from(pixel)]);
    let mut ranking: Vec<u16> = (0..IMAGE_BYTES as u16)
        .filter(|&pixel| match lost.outward[usize::from(pixel)] {
            0 => false,
            way => lost.bytes[usize::from(pixel)]
                .checked_add_signed(way)
                .is_some(),
        })
        .collect();
    // From k levels to k + 1 the squared distance grows by 2k + 1.
    let worth = |pixel: u16| {
        let (byte, clean) = (
            lost.bytes[usize::from(pixel)],
            lost.clean[usize::from(pixel)],
        );
        help(pixel) / (2.0 * f32::from(byte.abs_diff(clean)) + 1.0)
    };
    ranking.sort_by(|&a, &b| worth(b).total_cmp(&worth(a)));
    let helpful = ranking.partition_point(|&pixel| help(pixel) > 0.0);
    Ranked {
        helpful,
        ranking,
        too_few: 0,
        enough: 0,
        pred: lost.label,
        lost,
    }
}

/// One round: all helpful pixels, else all that can move; then as few as needed. Who is still
/// lost goes on from its helpful moves.
fn round(
    net: &dyn Classifier,
    device: &Device,
    ranked: Vec<Ranked>,
) -> Result<(Vec<Repaired>, Vec<Lost>)> {
    let (mut open, rest) = attempt(net, device, ranked, |r| r.helpful)?;
    let (more, rest) = attempt(net, device, rest, |r| r.ranking.len())?;
    open.extend(more);

    let mut repaired = Vec::with_capacity(open.len());
    loop {
        let (ready, halving): (Vec<_>, Vec<_>) =
            open.into_iter().partition(|r| r.enough - r.too_few <= 1);
        repaired.extend(ready.iter().map(|r| Repaired {
            row: r.lost.row,
            bytes: r.moved(r.enough),
            pred: r.pred,
        }));
        if halving.is_empty() {
            break;
        }
        let (fewer, more) = attempt(net, device, halving, |r| {
            usize::midpoint(r.too_few, r.enough)
        })?;
        open = fewer.into_iter().chain(more).collect();
    }
    let still_lost = rest.into_iter().map(|r| Lost {
        bytes: r.moved(r.helpful),
        ..r.lost
    });
    Ok((repaired, still_lost.collect()))
}

/// Tries so many moves of each image and notes whether they are enough: first those for
/// which they are, then those for which they are not.
fn attempt(
    net: &dyn Classifier,
    device: &Device,
    mut ranked: Vec<Ranked>,
    moves: impl Fn(&Ranked) -> usize,
) -> Result<(Vec<Ranked>, Vec<Ranked>)> {
    if ranked.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let ids: Vec<u64> = ranked.iter().map(|r| r.lost.id).collect();
    let bytes: Vec<u8> = ranked.iter().flat_map(|r| r.moved(moves(r))).collect();
    let rows: Vec<Row> = logits::rows(&net.logits(&quantize::to_tensor(&bytes, device)?)?, &ids)?;
    for (r, row) in ranked.iter_mut().zip(&rows) {
        let (moves, pred) = (moves(r), logits::predicted(row));
        if pred == r.lost.label {
            r.too_few = moves;
        } else {
            (r.enough, r.pred) = (moves, pred);
        }
    }
    let fooled = rows.iter().map(logits::predicted).collect::<Vec<_>>();
    let mut fooled = fooled.into_iter();
    Ok(ranked
        .into_iter()
        .partition(|r| fooled.next().is_some_and(|pred| pred != r.lost.label)))
}

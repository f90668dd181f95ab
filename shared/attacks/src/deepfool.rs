//! DeepFool, L2 (Moosavi-Dezfooli, Fawzi, Frossard, "DeepFool: a simple and accurate method to
//! fool deep neural networks", 2016): step after step over the nearest class boundary of the
//! linearized model, until the prediction leaves the label.
//!
//! What each image goes through is torchattacks' algorithm; here all images go at once, and
//! those that are done leave the batch.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::{
    Attack, AttackBatch, AttackTraits, Perturbed, Preset,
    check::{Check, number, steps},
    cohort::{Cohort, column, pick, select},
    gradient, logits,
    preset::Parameters,
};
use base::Result;
use data::CLASSES;
use nn::model::{Classifier, Linearized};

/// `x <- clip(x + (1 + overshoot) * step_scale * |f'| / |w'|^2 * w'`), where `f'` and `w'` are the
/// difference to the label, in logit and gradient, of the class with the smallest `|f'| / |w'|`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeepFool {
    /// The most steps an image takes.
    pub steps: u32,
    /// How far beyond the boundary, as a part of the step, 0 to 10.
    pub overshoot: f64,
    /// What part of the way to the boundary a step goes, 0 to 10; 1 in both presets.
    pub step_scale: f64,
}

impl Parameters for DeepFool {
    const TRAITS: AttackTraits = AttackTraits {
        skips_misclassified: true,
        needs_gradient: true,
        needs_style: false,
        strong: true,
    };

    fn preset(preset: Preset) -> Self {
        let (steps, overshoot) = match preset {
            Preset::Paper => (5, 0.0),
            Preset::Standard => (50, 0.02),
        };
        Self {
            steps,
            overshoot,
            step_scale: 1.0,
        }
    }

    fn check(&self) -> Check {
        steps(self.steps)?;
        number("overshoot", self.overshoot, 0.0..=10.0)?;
        number("step_scale", self.step_scale, 0.0..=10.0)
    }
}

impl Attack for DeepFool {
    fn perturb(&self, net: &dyn Classifier, batch: &AttackBatch) -> Result<Perturbed> {
        batch.check()?;
        let mut images = batch.images.clone();
        let mut taken = vec![0; batch.ids.len()];
        let mut cohort = Cohort::new(batch.ids.len());
        for _ in 0..self.steps {
            let (ids, labels) = (cohort.of(batch.ids), cohort.of(batch.labels));
            let mut around = net.linearized(&images)?;
            let mut rows = logits::rows(around.logits(), &ids)?;
            let fooled: Vec<bool> = std::iter::zip(&rows, &labels)
                .map(|(row, &label)| logits::predicted(row) != label)
                .collect();
            let mut places: Vec<usize> = (0..rows.len()).collect();
            if let Some(stay) = cohort.dismiss(&fooled, &images)? {
                images = select(&images, &stay)?;
                rows = pick(&rows, &stay);
                places = stay;
            }
            if cohort.members().is_empty() {
                break;
            }

            let (ids, labels) = (cohort.of(batch.ids), cohort.of(batch.labels));
            let boundaries = nearest_boundaries(&mut *around, &places, &rows, (&ids, &labels))?;
            // Where no class pulls at all there is nowhere to go.
            let stuck: Vec<bool> = boundaries.ratio.iter().map(Option::is_none).collect();
            let length = (1.0 + self.overshoot) * self.step_scale;
            let scale = boundaries
                .ratio
                .iter()
                .map(|ratio| (length * ratio.unwrap_or(0.0)) as f32)
                .collect();
            let scale = column(scale, images.device())?;
            images = (images + boundaries.normal.broadcast_mul(&scale)?)?.clamp(0f32, 1f32)?;
            for (&row, stuck) in cohort.members().iter().zip(&stuck) {
                taken[row] += u32::from(!stuck);
            }
            if let Some(stay) = cohort.dismiss(&stuck, &images)? {
                images = select(&images, &stay)?;
            }
            if cohort.members().is_empty() {
                break;
            }
        }
        Ok(Perturbed {
            images: cohort.finish(&images)?,
            steps: taken,
        })
    }
}

/// For each image the nearest boundary of the linearized net.
struct Boundaries {
    /// `w'`, `[B,3,32,32]`.
    normal: Tensor,
    /// `|f'| / |w'|^2`; none where every `w'` is zero.
    ratio: Vec<Option<f64>>,
}

/// Those at these places of a model around images: one way back for each of the nine other classes.
fn nearest_boundaries(
    around: &mut dyn Linearized,
    places: &[usize],
    rows: &[logits::Row],
    (ids, labels): (&[u64], &[u8]),
) -> Result<Boundaries> {
    let device = around.logits().device().clone();
    let slopes = (0..CLASSES - 1).map(|nth| {
        let entries = |&label: &u8| [(other(label, nth), 1.0), (usize::from(label), -1.0)];
        let entries: Vec<_> = labels.iter().map(entries).collect();
        logits::slopes(&entries, &device)
    });
    let normals = around.vjp(places, &slopes.collect::<Result<Vec<_>>>()?)?;
    let mut nearest = vec![None; ids.len()];
    for (nth, normal) in normals.iter().enumerate() {
        gradient::check(normal, ids)?;
        let squares = normal.sqr()?.flatten_from(1)?.sum(1)?.to_vec1::<f32>()?;
        for (i, &square) in squares.iter().enumerate() {
            let difference = rows[i][other(labels[i], nth)] - rows[i][usize::from(labels[i])];
            let (difference, square) = (f64::from(difference.abs()), f64::from(square));
            let distance = difference / square.sqrt();
            let nearer = nearest[i].is_none_or(|(best, _, _)| distance < best);
            if square > 0.0 && nearer {
                nearest[i] = Some((distance, nth, difference / square));
            }
        }
    }
    let chosen: Vec<usize> = nearest
        .iter()
        .enumerate()
        .map(|(i, nearest)| nearest.map_or(0, |(_, nth, _)| nth) * ids.len() + i)
        .collect();
    Ok(Boundaries {
        normal: select(&Tensor::cat(&normals, 0)?, &chosen)?,
        ratio: nearest
            .iter()
            .map(|nearest| nearest.map(|(_, _, ratio)| ratio))
            .collect(),
    })
}

/// The `nth` of the nine classes that are not the label.
fn other(label: u8, nth: usize) -> usize {
    nth + usize::from(nth >= usize::from(label))
}

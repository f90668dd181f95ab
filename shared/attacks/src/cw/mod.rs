//! C&W, L2 (Carlini and Wagner, "Towards evaluating the robustness of neural networks", 2017):
//! optimizes the smallest perturbation that changes the class.
//!
//! Each image minimizes `|x - clean|^2 + c * max(margin + confidence, 0)`, where the margin is
//! the label's logit minus another one's. The result is the smallest iterate that is misclassified
//! with the given confidence. With the objective `margin` it minimizes the margin alone, and the result is the
//! first such iterate.

mod params;
mod state;

use candle_core::DType;

pub use params::{Cw, Objective, OnFailure, Space, Target};

use super::{
    Attack, AttackBatch, Perturbed,
    active_set::{ActiveSet, select},
    logits,
    padding::{PaddedModel, Padding},
};
use base::Result;
use nn::model::Classifier;
use state::CwState;

/// How many times an image's objective is checked for an early stop.
const STOP_CHECKS: u32 = 10;

impl Attack for Cw {
    /// An image that the model misclassifies already is left unchanged.
    fn perturb(&self, model: &dyn Classifier, batch: &AttackBatch) -> Result<Perturbed> {
        let model = &PaddedModel::new(model, Padding::new(batch.len(), batch.device()));
        let mut active = ActiveSet::new(batch.len());
        let mut taken = vec![0; batch.len()];
        let mut clean_logits = model
            .logits(batch.images())?
            .detach()
            .to_dtype(DType::F32)?;
        let rows = logits::rows(&clean_logits, batch.ids(), batch.labels())?;
        let misclassified: Vec<bool> = std::iter::zip(&rows, batch.labels())
            .map(|(row, &label)| logits::argmax(row) != label)
            .collect();
        let mut clean = batch.images().clone();
        if let Some(kept) = active.retire(&misclassified, &clean)? {
            clean = select(&clean, &kept)?;
            clean_logits = select(&clean_logits, &kept)?;
        }
        if active.is_empty() {
            return Ok(Perturbed {
                images: active.into_batch_order(&clean)?,
                steps: taken,
            });
        }

        let (ids, labels) = (active.gather(batch.ids()), active.gather(batch.labels()));
        let mut state = CwState::new(self, clean, ids, labels, &clean_logits)?;
        let interval = (self.steps / STOP_CHECKS).max(1);
        for step in 0..self.steps {
            state.step(model)?;
            active.rows().iter().for_each(|&row| taken[row] += 1);
            let finished = match self.objective {
                Objective::Margin => state.succeeded()?,
                Objective::Distance if self.early_stop && step % interval == 0 => {
                    state.objective_increased()?
                }
                Objective::Distance => continue,
            };
            state.check_finite()?;
            if let Some(kept) = active.retire(&finished, &state.result()?)? {
                state.keep(&kept)?;
            }
            if active.is_empty() {
                break;
            }
        }
        state.check_finite()?;
        Ok(Perturbed {
            images: active.into_batch_order(&state.result()?)?,
            steps: taken,
        })
    }
}

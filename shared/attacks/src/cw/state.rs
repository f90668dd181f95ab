//! Optimizer state of C&W for the active images, on their device, and one Adam step of it. The host reads it where
//! images may be finished, and in pixel space for the iterates that are classified again after clipping.

use candle_core::{D, DType, Device, Tensor};

use super::params::{Cw, Objective, OnFailure, Space, Target};
use crate::{
    active_set::{pick, select, where_mask},
    adam::Adam,
    gradient::{self, FiniteCheck},
    logits,
};
use base::Result;
use nn::model::Classifier;

/// Scales `[-1,1]` to just inside (-1, 1), so that pixels of exactly 0 or 1 have a finite atanh
/// and can still move (as in Foolbox).
const TANH_MARGIN: f64 = 0.999_999;

/// Every field but the parameters has one row for each active image.
pub struct CwState {
    params: Cw,
    ids: Vec<u64>,
    labels: Vec<u8>,
    /// The labels, `[B,1]` u32.
    label_index: Tensor,
    /// The margin's fixed class, `[B,1]` u32; none where it is the runner-up of each step.
    targets: Option<Tensor>,
    clean: Tensor,
    /// The variable that Adam moves: pixels, or `w` of tanh space.
    values: Tensor,
    adam: Adam,
    best: Tensor,
    /// Squared L2 distance of `best`, `[B]`; infinite before the first success.
    best_square: Tensor,
    /// `[B]`, f64.
    objective: Tensor,
    /// The objective at the last check for an early stop.
    checked_objective: Tensor,
    finite_logits: FiniteCheck,
    finite_gradients: FiniteCheck,
}

impl CwState {
    /// Starts at the clean images; `clean_logits` are their logits, `[B,classes]`.
    pub fn new(
        params: &Cw,
        clean: Tensor,
        ids: Vec<u64>,
        labels: Vec<u8>,
        clean_logits: &Tensor,
    ) -> Result<Self> {
        let (size, device) = (labels.len(), clean.device());
        let label_index = class_index(&labels, device)?;
        let targets = match params.target {
            Target::CleanRunnerUp => Some(runner_up(clean_logits, &label_index)?),
            Target::RunnerUp => None,
        };
        let values = match params.space {
            Space::Pixel => clean.clone(),
            Space::Tanh => atanh(&clean.affine(2.0 * TANH_MARGIN, -TANH_MARGIN)?)?,
        };
        let infinite = Tensor::full(f64::INFINITY, size, device)?;
        Ok(Self {
            params: params.clone(),
            ids,
            labels,
            label_index,
            targets,
            adam: Adam::new(params.lr, &values)?,
            values,
            best: clean.clone(),
            best_square: infinite.to_dtype(DType::F32)?,
            clean,
            objective: infinite.clone(),
            checked_objective: infinite,
            finite_logits: FiniteCheck::default(),
            finite_gradients: FiniteCheck::default(),
        })
    }

    /// Evaluates the iterate, keeps it where it is the best so far, and takes an Adam step.
    pub fn step(&mut self, model: &dyn Classifier) -> Result<()> {
        let (c, confidence) = (self.params.c, self.params.confidence);
        let images = self.images()?;
        let pixels = gradient::variable(&images)?;
        let logits = model.logits(&pixels)?;
        let classes = logits::check(&logits, &self.ids, &self.labels)?;
        let values = logits.detach().to_dtype(DType::F32)?;
        self.finite_logits.add(&values)?;

        let change = (&images - &self.clean)?;
        let squares = squared_norms(&change)?;
        let runner_up = runner_up(&values, &self.label_index)?;
        let other = self.targets.as_ref().unwrap_or(&runner_up);
        let hinge = (self.lead(&values, other)? + confidence)?;
        let excess = (hinge.relu()? * c)?;
        self.objective = (squares.to_dtype(DType::F64)? + excess.squeeze(1)?)?;
        let weight = (hinge.ge(0f64)?.to_dtype(DType::F32)? * f64::from(c as f32))?;
        let one_hot = |index: &Tensor| one_hot(index, classes);
        let direction = (one_hot(&self.label_index)? - one_hot(other)?)?;
        // Without negative zeros.
        let grad_logits = (direction.broadcast_mul(&weight)? + 0.0)?;
        let grad_hinge = gradient::unchecked_vjp(&pixels, &logits, &grad_logits)?;
        self.finite_gradients.add(&grad_hinge)?;
        let success = self.success(&self.lead(&values, &runner_up)?)?;
        self.keep_best(model, &images, squares, &success)?;

        let mut gradient = match self.params.objective {
            Objective::Distance => (grad_hinge + (change * 2.0)?)?,
            Objective::Margin => grad_hinge,
        };
        if self.params.space == Space::Tanh {
            // dx/dw = (1 - tanh(w)^2) / 2
            let tanh = self.values.tanh()?;
            gradient = (gradient * tanh.sqr()?.affine(-0.5, 0.5)?)?;
        }
        self.values = self.adam.step(&self.values, &gradient)?;
        Ok(())
    }

    /// The label's logit minus another one's, `[B,1]`: their difference in f32, as f64.
    fn lead(&self, logits: &Tensor, other: &Tensor) -> Result<Tensor> {
        let lead = (logits.gather(&self.label_index, 1)? - logits.gather(other, 1)?)?;
        Ok(lead.to_dtype(DType::F64)?)
    }

    /// Whether images with these margins, `[B,1]`, are successes with the required confidence: `[B]` u8.
    fn success(&self, margins: &Tensor) -> Result<Tensor> {
        let fooled = (margins.lt(0f64)? * margins.le(-self.params.confidence)?)?;
        Ok(fooled.squeeze(1)?)
    }

    /// Keeps the iterates that succeed with confidence (`success`) at a smaller distance than the best so far.
    fn keep_best(
        &mut self,
        model: &dyn Classifier,
        images: &Tensor,
        squares: Tensor,
        success: &Tensor,
    ) -> Result<()> {
        let (images, squares, better) = match self.params.space {
            Space::Tanh => {
                let better = (success * squares.lt(&self.best_square)?)?;
                (images.clone(), squares, better)
            }
            Space::Pixel => {
                let clipped = images.clamp(0f32, 1f32)?;
                let squares = squared_norms(&(&clipped - &self.clean)?)?;
                let better = (success * squares.lt(&self.best_square)?)?;
                match self.still_better(model, &clipped, &better)? {
                    Some(better) => (clipped, squares, better),
                    None => return Ok(()),
                }
            }
        };
        self.best_square = better.where_cond(&squares, &self.best_square)?;
        self.best = where_mask(&better, &images, &self.best)?;
        Ok(())
    }

    /// Those of the `better` images that succeed after clipping, too: success before it need not be success after it.
    /// None if there are none.
    fn still_better(
        &self,
        model: &dyn Classifier,
        clipped: &Tensor,
        better: &Tensor,
    ) -> Result<Option<Tensor>> {
        let better = better.to_vec1::<u8>()?;
        let rows: Vec<usize> = (0..better.len()).filter(|&i| better[i] != 0).collect();
        if rows.is_empty() {
            return Ok(None);
        }
        let (ids, labels) = (pick(&self.ids, &rows), pick(&self.labels, &rows));
        let logits = model.logits(&select(clipped, &rows)?)?;
        let mut mask = vec![0u8; better.len()];
        for (&i, logits) in std::iter::zip(&rows, &logits::rows(&logits, &ids, &labels)?) {
            let margin = f64::from(logits::margin(logits, self.labels[i]));
            mask[i] = u8::from(margin < 0.0 && margin <= -self.params.confidence);
        }
        let size = mask.len();
        Ok(Some(Tensor::from_vec(mask, size, clipped.device())?))
    }

    /// Refuses logits and gradients that were not finite, of all steps so far.
    ///
    /// # Errors
    /// [`base::Error::NonFinite`].
    pub fn check_finite(&self) -> Result<()> {
        self.finite_logits.finish(logits::LOGITS, &self.ids)?;
        self.finite_gradients.finish(gradient::GRADIENT, &self.ids)
    }

    /// Whether each image's objective has increased since the last call.
    pub fn objective_increased(&mut self) -> Result<Vec<bool>> {
        let increased = self.objective.gt(&self.checked_objective)?;
        self.checked_objective = self.objective.clone();
        flags(&increased)
    }

    /// Whether an iterate of each image has fooled the model.
    pub fn succeeded(&self) -> Result<Vec<bool>> {
        flags(&self.best_square.lt(f32::INFINITY)?)
    }

    /// The best iterates; the clean image or the last iterate where there is none.
    pub fn result(&self) -> Result<Tensor> {
        // `keep` leaves the tensors as they were where no image stays.
        if self.params.on_failure == OnFailure::Clean || self.ids.is_empty() {
            return Ok(self.best.clone());
        }
        let last = self.images()?.clamp(0f32, 1f32)?;
        where_mask(&self.best_square.lt(f32::INFINITY)?, &self.best, &last)
    }

    /// Drops all rows but these.
    pub fn keep(&mut self, rows: &[usize]) -> Result<()> {
        self.ids = pick(&self.ids, rows);
        self.labels = pick(&self.labels, rows);
        if rows.is_empty() {
            return Ok(());
        }
        for tensor in [
            &mut self.label_index,
            &mut self.clean,
            &mut self.values,
            &mut self.best,
            &mut self.best_square,
            &mut self.objective,
            &mut self.checked_objective,
        ]
        .into_iter()
        .chain(&mut self.targets)
        {
            *tensor = select(tensor, rows)?;
        }
        self.adam.keep(rows)?;
        self.finite_logits.keep(rows)?;
        self.finite_gradients.keep(rows)
    }

    /// The iterate as pixels, not clipped.
    fn images(&self) -> Result<Tensor> {
        match self.params.space {
            Space::Pixel => Ok(self.values.clone()),
            Space::Tanh => Ok(self.values.tanh()?.affine(0.5, 0.5)?),
        }
    }
}

/// atanh(y) = ln((1 + y) / (1 - y)) / 2
fn atanh(y: &Tensor) -> Result<Tensor> {
    let ratio = ((y + 1.0)? / y.affine(-1.0, 1.0)?)?;
    Ok((ratio.log()? * 0.5)?)
}

/// The squared L2 norm of each image, `[B]`.
fn squared_norms(change: &Tensor) -> Result<Tensor> {
    Ok(change.sqr()?.flatten_from(1)?.sum(1)?)
}

/// Classes as `[B,1]` u32.
fn class_index(classes: &[u8], device: &Device) -> Result<Tensor> {
    let index: Vec<u32> = classes.iter().copied().map(u32::from).collect();
    Ok(Tensor::from_vec(index, (classes.len(), 1), device)?)
}

/// The class of the largest of `[B,classes]` logits other than the label's, `[B,1]`.
fn runner_up(logits: &Tensor, label_index: &Tensor) -> Result<Tensor> {
    let of_label = one_hot(label_index, logits.dim(1)?)?.gt(0f32)?;
    let least = Tensor::full(f32::NEG_INFINITY, logits.shape(), logits.device())?;
    Ok(of_label
        .where_cond(&least, logits)?
        .argmax_keepdim(D::Minus1)?)
}

/// `[B,1]` classes as rows of zeros with a 1, `[B,classes]`.
fn one_hot(index: &Tensor, classes: usize) -> Result<Tensor> {
    let all = Tensor::arange(0u32, classes as u32, index.device())?.unsqueeze(0)?;
    Ok(all.broadcast_eq(index)?.to_dtype(DType::F32)?)
}

/// A mask, `[B]` u8, on the host.
fn flags(mask: &Tensor) -> Result<Vec<bool>> {
    let flags = mask.to_vec1::<u8>()?;
    Ok(flags.into_iter().map(|flag| flag != 0).collect())
}

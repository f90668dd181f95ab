//! Optimizer state of C&W for the active images, and one Adam step of it.

use candle_core::Tensor;

use super::params::{Cw, Objective, OnFailure, Space, Target};
use crate::{
    active_set::{column, pick, select},
    adam::Adam,
    gradient,
    logits::{self, LogitRow},
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
    /// The margin's fixed class; none where it is the runner-up of each step.
    targets: Vec<Option<usize>>,
    clean: Tensor,
    /// The variable that Adam moves: pixels, or `w` of tanh space.
    values: Tensor,
    adam: Adam,
    best: Tensor,
    /// Squared L2 distance of `best`; infinite before the first success.
    best_square: Vec<f32>,
    objective: Vec<f64>,
    /// The objective at the last check for an early stop.
    checked_objective: Vec<f64>,
}

impl CwState {
    /// Starts at the clean images; `rows` are their logits.
    pub fn new(
        params: &Cw,
        clean: Tensor,
        ids: Vec<u64>,
        labels: Vec<u8>,
        rows: &[LogitRow],
    ) -> Result<Self> {
        let targets = std::iter::zip(rows, &labels)
            .map(|(row, &label)| {
                (params.target == Target::CleanRunnerUp).then(|| logits::runner_up(row, label))
            })
            .collect();
        let values = match params.space {
            Space::Pixel => clean.clone(),
            Space::Tanh => atanh(&clean.affine(2.0 * TANH_MARGIN, -TANH_MARGIN)?)?,
        };
        let size = ids.len();
        Ok(Self {
            params: params.clone(),
            ids,
            labels,
            targets,
            adam: Adam::new(params.lr, &values)?,
            values,
            best: clean.clone(),
            clean,
            best_square: vec![f32::INFINITY; size],
            objective: vec![f64::INFINITY; size],
            checked_objective: vec![f64::INFINITY; size],
        })
    }

    /// Evaluates the iterate, keeps it where it is the best so far, and takes an Adam step.
    pub fn step(&mut self, model: &dyn Classifier) -> Result<()> {
        let (c, confidence) = (self.params.c, self.params.confidence);
        let images = self.images()?;
        let pixels = gradient::variable(&images)?;
        let logits = model.logits(&pixels)?;
        let rows = logits::rows(&logits, &self.ids, &self.labels)?;

        let change = (&images - &self.clean)?;
        let squares = squared_norms(&change)?;
        let mut hinge_grads = Vec::with_capacity(rows.len());
        for (i, row) in rows.iter().enumerate() {
            let label = usize::from(self.labels[i]);
            let other = self.targets[i].unwrap_or_else(|| logits::runner_up(row, self.labels[i]));
            let hinge = f64::from(row[label] - row[other]) + confidence;
            self.objective[i] = f64::from(squares[i]) + c * hinge.max(0.0);
            let weight = if hinge >= 0.0 { c as f32 } else { 0.0 };
            hinge_grads.push([(label, weight), (other, -weight)]);
        }
        let grad_logits = logits::sparse_grad(&hinge_grads, logits.dim(1)?, pixels.device())?;
        let grad_hinge = gradient::vjp(&pixels, &logits, &grad_logits, &self.ids)?;
        self.keep_best(model, &images, squares, &rows)?;

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

    /// Keeps the iterates that succeed with confidence at a smaller distance than the best so far.
    fn keep_best(
        &mut self,
        model: &dyn Classifier,
        images: &Tensor,
        mut squares: Vec<f32>,
        rows: &[LogitRow],
    ) -> Result<()> {
        let mut better: Vec<usize> = (0..rows.len())
            .filter(|&i| self.succeeds(&rows[i], self.labels[i]))
            .collect();
        let mut images = images.clone();
        if self.params.space == Space::Pixel {
            images = images.clamp(0f32, 1f32)?;
            squares = squared_norms(&(&images - &self.clean)?)?;
        }
        better.retain(|&i| squares[i] < self.best_square[i]);
        if self.params.space == Space::Pixel && !better.is_empty() {
            // Success before clipping need not be success after it.
            let (ids, labels) = (pick(&self.ids, &better), pick(&self.labels, &better));
            let logits = model.logits(&select(&images, &better)?)?;
            let clipped = logits::rows(&logits, &ids, &labels)?;
            better = std::iter::zip(better, &clipped)
                .filter(|(i, row)| self.succeeds(row, self.labels[*i]))
                .map(|(i, _)| i)
                .collect();
        }
        if better.is_empty() {
            return Ok(());
        }
        let mut mask = vec![0f32; rows.len()];
        for &i in &better {
            mask[i] = 1.0;
            self.best_square[i] = squares[i];
        }
        self.best = where_mask(mask, &images, &self.best)?;
        Ok(())
    }

    /// Whether logits are those of a success with the required confidence.
    fn succeeds(&self, row: &[f32], label: u8) -> bool {
        let margin = f64::from(logits::margin(row, label));
        margin < 0.0 && margin <= -self.params.confidence
    }

    /// Whether each image's objective has increased since the last call.
    pub fn objective_increased(&mut self) -> Vec<bool> {
        let increased = std::iter::zip(&self.objective, &self.checked_objective)
            .map(|(objective, last)| objective > last)
            .collect();
        self.checked_objective.clone_from(&self.objective);
        increased
    }

    /// Whether an iterate of each image has fooled the model.
    pub fn succeeded(&self) -> Vec<bool> {
        self.best_square
            .iter()
            .map(|square| square.is_finite())
            .collect()
    }

    /// The best iterates; the clean image or the last iterate where there is none.
    pub fn result(&self) -> Result<Tensor> {
        // `keep` leaves the tensors as they were where no image stays.
        if self.params.on_failure == OnFailure::Clean || self.best_square.is_empty() {
            return Ok(self.best.clone());
        }
        let last = self.images()?.clamp(0f32, 1f32)?;
        let failed = |square: &f32| f32::from(square.is_infinite());
        where_mask(
            self.best_square.iter().map(failed).collect(),
            &last,
            &self.best,
        )
    }

    /// Drops all rows but these.
    pub fn keep(&mut self, rows: &[usize]) -> Result<()> {
        self.ids = pick(&self.ids, rows);
        self.labels = pick(&self.labels, rows);
        self.targets = pick(&self.targets, rows);
        self.best_square = pick(&self.best_square, rows);
        self.objective = pick(&self.objective, rows);
        self.checked_objective = pick(&self.checked_objective, rows);
        if !rows.is_empty() {
            self.clean = select(&self.clean, rows)?;
            self.values = select(&self.values, rows)?;
            self.best = select(&self.best, rows)?;
            self.adam.keep(rows)?;
        }
        Ok(())
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

/// The squared L2 norm of each image.
fn squared_norms(change: &Tensor) -> Result<Vec<f32>> {
    Ok(change.sqr()?.flatten_from(1)?.sum(1)?.to_vec1()?)
}

/// For each image `yes` where the mask is 1, `no` where it is 0.
fn where_mask(mask: Vec<f32>, yes: &Tensor, no: &Tensor) -> Result<Tensor> {
    let mask = column(mask, yes.device())?.gt(0f32)?;
    Ok(mask.broadcast_as(yes.shape())?.where_cond(yes, no)?)
}

//! C&W's search: the state of the images still searched for, and one Adam step of it.

use candle_core::Tensor;

use super::{
    adam::Adam,
    cohort::{column, pick, select},
    cw::{Cw, OnFailure, Space, Target},
    gradient,
    logits::{self, Row},
};
use base::Result;
use nn::model::Classifier;

/// Just inside (-1, 1), so that pixels of exactly 0 or 1 can still move (as in Foolbox).
const INSIDE: f64 = 0.999_999;

/// Everything has one row for each image that is still searched for.
pub struct Search {
    ids: Vec<u64>,
    labels: Vec<u8>,
    /// The fixed class of the margin; none where it is the runner-up of each step.
    targets: Vec<Option<usize>>,
    clean: Tensor,
    /// What Adam moves: pixels, or their inverse hyperbolic tangents.
    values: Tensor,
    adam: Adam,
    best: Tensor,
    /// Squared L2 of `best`; infinite where nothing fooled the model yet.
    best_square: Vec<f32>,
    cost: Vec<f64>,
    cost_at_last_look: Vec<f64>,
}

impl Search {
    /// Starts at the clean images; `rows` are their logits.
    pub fn new(
        cw: &Cw,
        clean: Tensor,
        ids: Vec<u64>,
        labels: Vec<u8>,
        rows: &[Row],
    ) -> Result<Self> {
        let targets = std::iter::zip(rows, &labels)
            .map(|(row, &label)| {
                (cw.target == Target::CleanRunnerUp).then(|| logits::runner_up(row, label))
            })
            .collect();
        let values = match cw.space {
            Space::Pixel => clean.clone(),
            Space::Tanh => inverse_tanh(&clean.affine(2.0 * INSIDE, -INSIDE)?)?,
        };
        let size = ids.len();
        Ok(Self {
            ids,
            labels,
            targets,
            adam: Adam::new(cw.lr, &values)?,
            values,
            best: clean.clone(),
            clean,
            best_square: vec![f32::INFINITY; size],
            cost: vec![f64::INFINITY; size],
            cost_at_last_look: vec![f64::INFINITY; size],
        })
    }

    /// Judges the iterate, remembers it where it is the best so far, and moves on.
    pub fn step(&mut self, cw: &Cw, net: &dyn Classifier) -> Result<()> {
        let images = self.images(cw.space)?;
        let pixels = gradient::variable(&images)?;
        let logits = net.logits(&pixels)?;
        let rows = logits::rows(&logits, &self.ids)?;

        let change = (&images - &self.clean)?;
        let squares = squared_length(&change)?;
        let mut slopes = Vec::with_capacity(rows.len());
        for (i, row) in rows.iter().enumerate() {
            let label = usize::from(self.labels[i]);
            let other = self.targets[i].unwrap_or_else(|| logits::runner_up(row, self.labels[i]));
            let hinge = f64::from(row[label] - row[other]) + cw.confidence;
            self.cost[i] = f64::from(squares[i]) + cw.c * hinge.max(0.0);
            let weight = if hinge >= 0.0 { cw.c as f32 } else { 0.0 };
            slopes.push([(label, weight), (other, -weight)]);
        }
        let slope = logits::slopes(&slopes, pixels.device())?;
        let pull = gradient::pull_back(&pixels, &logits, &slope, &self.ids)?;
        self.remember(cw, net, &images, &squares, &rows)?;

        let mut gradient = (pull + (change * 2.0)?)?;
        if cw.space == Space::Tanh {
            // dx/dw = (1 - tanh(w)^2) / 2
            let tanh = self.values.tanh()?;
            gradient = (gradient * tanh.sqr()?.affine(-0.5, 0.5)?)?;
        }
        self.values = self.adam.step(&self.values, &gradient)?;
        Ok(())
    }

    /// Keeps the iterates that are fooled with confidence and nearer than the best so far.
    fn remember(
        &mut self,
        cw: &Cw,
        net: &dyn Classifier,
        images: &Tensor,
        squares: &[f32],
        rows: &[Row],
    ) -> Result<()> {
        let fooled = |row: &Row, label: u8| {
            let margin = f64::from(logits::margin(row, label));
            margin < 0.0 && margin <= -cw.confidence
        };
        let mut better: Vec<usize> = (0..rows.len())
            .filter(|&i| fooled(&rows[i], self.labels[i]))
            .collect();
        let mut squares = squares.to_vec();
        let mut images = images.clone();
        if cw.space == Space::Pixel {
            images = images.clamp(0f32, 1f32)?;
            squares = squared_length(&(&images - &self.clean)?)?;
        }
        better.retain(|&i| squares[i] < self.best_square[i]);
        if cw.space == Space::Pixel && !better.is_empty() {
            // What was fooled may not be fooled once clipped.
            let ids = pick(&self.ids, &better);
            let clipped = logits::rows(&net.logits(&select(&images, &better)?)?, &ids)?;
            let mut clipped = clipped.iter();
            better.retain(|&i| {
                clipped
                    .next()
                    .is_some_and(|row| fooled(row, self.labels[i]))
            });
        }
        if better.is_empty() {
            return Ok(());
        }
        let mut mask = vec![0f32; rows.len()];
        for &i in &better {
            mask[i] = 1.0;
            self.best_square[i] = squares[i];
        }
        self.best = choose(mask, &images, &self.best)?;
        Ok(())
    }

    /// Whether each image's objective is larger than when this was last asked.
    pub fn risen_since_last_look(&mut self) -> Vec<bool> {
        let risen = std::iter::zip(&self.cost, &self.cost_at_last_look)
            .map(|(cost, last)| cost > last)
            .collect();
        self.cost_at_last_look.clone_from(&self.cost);
        risen
    }

    /// The best iterates; where there is none, what the parameters say.
    pub fn result(&self, cw: &Cw) -> Result<Tensor> {
        if cw.on_failure == OnFailure::Clean {
            return Ok(self.best.clone());
        }
        let last = self.images(cw.space)?.clamp(0f32, 1f32)?;
        let failed = |square: &f32| f32::from(square.is_infinite());
        choose(
            self.best_square.iter().map(failed).collect(),
            &last,
            &self.best,
        )
    }

    /// Only these rows go on.
    pub fn keep(&mut self, rows: &[usize]) -> Result<()> {
        self.ids = pick(&self.ids, rows);
        self.labels = pick(&self.labels, rows);
        self.targets = pick(&self.targets, rows);
        self.best_square = pick(&self.best_square, rows);
        self.cost = pick(&self.cost, rows);
        self.cost_at_last_look = pick(&self.cost_at_last_look, rows);
        if !rows.is_empty() {
            self.clean = select(&self.clean, rows)?;
            self.values = select(&self.values, rows)?;
            self.best = select(&self.best, rows)?;
            self.adam.keep(rows)?;
        }
        Ok(())
    }

    /// The iterate as pixels, not clipped.
    fn images(&self, space: Space) -> Result<Tensor> {
        match space {
            Space::Pixel => Ok(self.values.clone()),
            Space::Tanh => Ok(self.values.tanh()?.affine(0.5, 0.5)?),
        }
    }
}

/// atanh(y) = ln((1 + y) / (1 - y)) / 2
fn inverse_tanh(y: &Tensor) -> Result<Tensor> {
    let ratio = ((y + 1.0)? / y.affine(-1.0, 1.0)?)?;
    Ok((ratio.log()? * 0.5)?)
}

/// The squared L2 norm of each row.
fn squared_length(change: &Tensor) -> Result<Vec<f32>> {
    Ok(change.sqr()?.flatten_from(1)?.sum(1)?.to_vec1()?)
}

/// For each image `yes` where the mask is 1, `no` where it is 0.
fn choose(mask: Vec<f32>, yes: &Tensor, no: &Tensor) -> Result<Tensor> {
    let mask = column(mask, yes.device())?.gt(0f32)?;
    Ok(mask.broadcast_as(yes.shape())?.where_cond(yes, no)?)
}

//! Square attack, Linf and L2 (Andriushchenko et al. 2020, "Square attack: a query-efficient black-box adversarial attack
//! via random search"), with the parameters of AutoAttack's standard set: it asks for logits alone.
//!
//! A query changes one window of the best point so far at random and keeps the change if the margin falls.

mod l2;
mod linf;
mod random;
mod schedule;

pub use random::Random;

use attacks::logits;
use base::{Result, random::Stream};
use data::IMAGE_BYTES;
use rayon::prelude::*;

use crate::{Batch, Norm, Outcome, Settings, Target, ThreatModel};

/// Queries after the start.
const QUERIES: u32 = 5000;

/// Square. `queries` (5000) are those after the first, of the start. All images are classified correctly.
///
/// # Errors
/// As [`Target::logits`].
pub fn square(
    target: &Target,
    batch: &Batch,
    threat: &ThreatModel,
    settings: &Settings,
) -> Result<Vec<Outcome>> {
    let streams = (batch.ids.iter())
        .map(|&id| Stream::new(settings.seed, "square", &[id]))
        .collect();
    let queries = settings.queries.unwrap_or(QUERIES);
    let found = search(target, batch, threat, queries, streams)?.into_iter();
    Ok(found
        .map(|best| best.misclassified.then_some(best.pixels))
        .collect())
}

/// The point of the smallest margin that a search found.
#[derive(Clone, Debug)]
pub struct Best {
    /// `3072` pixels in the ball.
    pub pixels: Vec<f32>,
    /// The label's logit less the largest other one.
    pub margin: f32,
    /// Whether the model's argmax is not the label: the search ended there.
    pub misclassified: bool,
}

/// The random search, for each image of the batch from its own random numbers: one point for each, in order.
///
/// # Errors
/// As [`Target::logits`].
pub fn search<R: Random + Send>(
    target: &Target,
    batch: &Batch,
    threat: &ThreatModel,
    queries: u32,
    randoms: Vec<R>,
) -> Result<Vec<Best>> {
    let mut finished: Vec<Option<Best>> = vec![None; batch.len()];
    let mut active = Active::start(batch, threat, randoms);
    active.evaluate(target)?;
    active.retire(&mut finished);
    for query in 0..queries {
        if active.searches.is_empty() {
            break;
        }
        active.propose(threat, schedule::side(threat.norm, query));
        active.evaluate(target)?;
        active.retire(&mut finished);
    }
    for search in active.searches {
        finished[search.row] = Some(search.best);
    }
    Ok(finished.into_iter().flatten().collect())
}

/// The images that are not misclassified yet, and a proposal for each.
struct Active<'a, R> {
    searches: Vec<SquareSearch<'a, R>>,
    ids: Vec<u64>,
    labels: Vec<u8>,
    proposals: Vec<f32>,
}

struct SquareSearch<'a, R> {
    row: usize,
    clean: &'a [f32],
    random: R,
    best: Best,
}

impl<'a, R: Random + Send> Active<'a, R> {
    /// All images of a batch, at their starts.
    fn start(batch: &'a Batch, threat: &ThreatModel, randoms: Vec<R>) -> Self {
        let search = |(row, mut random): (usize, R)| {
            let clean = batch.image(row);
            let pixels = match threat.norm {
                Norm::Linf => linf::start(threat, clean, &mut random),
                Norm::L2 => l2::start(threat, clean, &mut random),
            };
            let best = Best {
                pixels,
                margin: f32::INFINITY,
                misclassified: false,
            };
            SquareSearch {
                row,
                clean,
                random,
                best,
            }
        };
        let searches: Vec<_> = randoms.into_iter().enumerate().map(search).collect();
        let pixels = searches.iter().map(|search| search.best.pixels.as_slice());
        Self {
            proposals: pixels.collect::<Vec<_>>().concat(),
            searches,
            ids: batch.ids.clone(),
            labels: batch.labels.clone(),
        }
    }

    /// A change of each image's best point.
    fn propose(&mut self, threat: &ThreatModel, side: usize) {
        let bump = l2::Bump::new(side);
        self.searches
            .par_iter_mut()
            .zip(self.proposals.par_chunks_exact_mut(IMAGE_BYTES))
            .for_each(|(search, proposal)| {
                let (clean, best) = (search.clean, &search.best.pixels);
                let random = &mut search.random;
                match threat.norm {
                    Norm::Linf => linf::propose(threat, clean, best, side, random, proposal),
                    Norm::L2 => l2::propose(threat, clean, best, &bump, random, proposal),
                }
            });
    }

    /// Asks for the proposals' logits, and keeps those that lower the margin or are misclassified.
    fn evaluate(&mut self, target: &Target) -> Result<()> {
        let rows = target.logits(&self.proposals, &self.ids, &self.labels)?;
        let proposals = self.proposals.chunks_exact(IMAGE_BYTES);
        let proposals = proposals.zip(rows.iter().zip(&self.labels));
        for (search, (proposal, (row, &label))) in self.searches.iter_mut().zip(proposals) {
            let margin = logits::margin(row, label);
            let misclassified = logits::argmax(row) != label;
            if margin < search.best.margin || misclassified {
                search.best.pixels.copy_from_slice(proposal);
                search.best.margin = margin;
                search.best.misclassified = misclassified;
            }
        }
        Ok(())
    }

    /// Moves the misclassified images' points to their places in `finished`.
    fn retire(&mut self, finished: &mut [Option<Best>]) {
        let before = self.searches.len();
        let (done, active): (Vec<_>, Vec<_>) = (std::mem::take(&mut self.searches).into_iter())
            .zip(self.ids.drain(..).zip(self.labels.drain(..)))
            .partition(|(search, _)| search.best.misclassified);
        for (search, _) in done {
            finished[search.row] = Some(search.best);
        }
        for (search, (id, label)) in active {
            self.searches.push(search);
            self.ids.push(id);
            self.labels.push(label);
        }
        if self.searches.len() < before {
            self.proposals.truncate(self.searches.len() * IMAGE_BYTES);
        }
    }
}

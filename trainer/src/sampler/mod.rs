//! Which variant of an image a draw shows: a seed, the adversarial share, bounds per attack and
//! a policy come in; for every (epoch, image) the clean image or one attack's goes out.
//!
//! `share` and `bounds` read what the user wants, a `policy` chooses the mixture within them,
//! and the sampler draws from it. All is a function of the seed, the period of a redraw and the
//! (epoch, image) of a draw, so threads, batches and interruptions change nothing.

mod adaptive;
mod bounds;
mod fixed;
mod policy;
mod projection;
mod share;
mod uniform;

#[cfg(test)]
mod tests;

use base::{Error, Result, random::Stream};
use serde::{Deserialize, Serialize};

pub use bounds::Bounds;
pub use policy::{Entry, Options, POLICIES, Policy, policy};
pub use share::Share;

/// What draws are made from, until the next redraw. Serializes to plain numbers, for the log.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mixture {
    /// Probability that a draw is adversarial.
    pub share: f64,
    /// Probability of each attack among those, in the store's order; sums to one.
    pub probabilities: Vec<f64>,
}

/// All a sampler has to remember: its mixture. Numbers are kept as text that any format gives
/// back bit for bit (JSON readers may round a number's last digit).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    share: String,
    probabilities: Vec<String>,
}

/// Draws variants.
pub struct Sampler {
    seed: u64,
    share: Share,
    bounds: Bounds,
    policy: Box<dyn Policy>,
    mixture: Mixture,
}

impl Sampler {
    /// A sampler with the mixture of period 0.
    pub fn new(seed: u64, share: Share, bounds: Bounds, policy: Box<dyn Policy>) -> Self {
        let start = bounds.project(&vec![1.0 / bounds.count() as f64; bounds.count()]);
        let mut sampler = Self {
            seed,
            share,
            bounds,
            policy,
            mixture: Mixture {
                share: 0.0,
                probabilities: start,
            },
        };
        sampler.renew(0, None);
        sampler
    }

    /// Chooses the mixture of `period` (an epoch, or a number of steps). `errors` are the model's
    /// error rates in `[0,1]`, one per attack, since the last redraw; not a number for an attack
    /// that was not drawn.
    ///
    /// # Errors
    /// [`Error::Data`] when there are not as many errors as attacks.
    pub fn redraw(&mut self, period: u64, errors: Option<&[f64]>) -> Result<()> {
        let count = self.bounds.count();
        match errors.map(<[f64]>::len).filter(|&found| found != count) {
            Some(found) => Err(Error::data("error rates per attack", found, count)),
            None => {
                self.renew(period, errors);
                Ok(())
            }
        }
    }

    fn renew(&mut self, period: u64, errors: Option<&[f64]>) {
        let mut stream = Stream::new(self.seed, "mixture", &[period]);
        let current = &self.mixture.probabilities;
        self.mixture = Mixture {
            share: self.share.draw(&mut stream),
            probabilities: self
                .policy
                .redraw(current, errors, &self.bounds, &mut stream),
        };
    }

    /// What draws are made from now.
    pub fn mixture(&self) -> &Mixture {
        &self.mixture
    }

    /// The attacks' names: what draw `1 + i` shows is `attacks()[i]`.
    pub fn attacks(&self) -> &[String] {
        self.bounds.names()
    }

    /// The variant of an image that an epoch shows: 0 for the clean image, 1 + i for the
    /// store's i-th attack.
    pub fn draw(&self, epoch: u64, image_id: u64) -> usize {
        let mut stream = Stream::new(self.seed, "draw", &[epoch, image_id]);
        if !stream.chance(self.mixture.share) {
            return 0;
        }
        let place = stream.uniform();
        let mut sum = 0.0;
        let mut variant = 0;
        for (i, &probability) in self.mixture.probabilities.iter().enumerate() {
            sum += probability;
            // Where rounding leaves the sum short of one, the last possible attack has the rest.
            if probability > 0.0 {
                variant = i + 1;
                if place < sum {
                    break;
                }
            }
        }
        variant
    }

    /// What a checkpoint keeps.
    pub fn state(&self) -> State {
        State {
            share: self.mixture.share.to_string(),
            probabilities: self
                .mixture
                .probabilities
                .iter()
                .map(f64::to_string)
                .collect(),
        }
    }

    /// Takes back what [`Sampler::state`] gave.
    ///
    /// # Errors
    /// [`Error::Data`] when it is no mixture within this sampler's share and bounds.
    pub fn restore(&mut self, state: &State) -> Result<()> {
        let share = state.share.parse().ok();
        let probabilities = state.probabilities.iter().map(|p| p.parse().ok());
        let probabilities: Option<Vec<f64>> = probabilities.collect();
        match (share, probabilities) {
            (Some(share), Some(probabilities))
                if self.share.contains(share) && self.bounds.contain(&probabilities) =>
            {
                self.mixture = Mixture {
                    share,
                    probabilities,
                };
                Ok(())
            }
            _ => Err(Error::data(
                "sampler state",
                format!("{state:?}"),
                format!(
                    "a share in {} and probabilities of {} within their bounds",
                    self.share,
                    self.attacks().join(", ")
                ),
            )),
        }
    }
}

//! Sampler: for every (epoch, image) the clean image or one attack's sample, by bounded dynamic probabilities.
//!
//! `share` is the adversarial share of the draws, `bounds` limit each attack's part of it, a policy chooses the
//! probabilities within the bounds, and [`Sampler`] draws. Every draw is a function of the seed, the redraw
//! period and the (epoch, image), so threads, batches and resuming change nothing.

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

use self::{adaptive::Adaptive, fixed::Fixed, uniform::Uniform};
pub use self::{
    bounds::Bounds,
    policy::{Options, Policy},
    share::Share,
};

use crate::config::Sampling;

/// A row of [`POLICIES`].
pub struct PolicyEntry {
    /// Its name on the command line and in `config.toml`.
    pub name: &'static str,
    /// Its line of help.
    pub about: &'static str,
    build: fn(Options) -> Box<dyn Policy>,
}

/// All policies; one file and one row each.
pub const POLICIES: [PolicyEntry; 3] = [
    PolicyEntry {
        name: "fixed",
        about: "Constant: equal probabilities, as near as the bounds allow",
        build: |_| Box::new(Fixed),
    },
    PolicyEntry {
        name: "uniform",
        about: "Redrawn, uniform over all probabilities within the bounds (the paper's)",
        build: |_| Box::new(Uniform),
    },
    PolicyEntry {
        name: "adaptive",
        about: "Multiplicative weights: probability moves to the attacks with the highest error rates",
        build: |options| Box::new(Adaptive { eta: options.eta }),
    },
];

/// The policy of this name.
///
/// # Errors
/// [`Error::Usage`] for an unknown name or an `eta` that is negative or not finite.
pub fn policy(name: &str, options: Options) -> Result<Box<dyn Policy>> {
    let Some(entry) = POLICIES.iter().find(|entry| entry.name == name) else {
        let names = POLICIES.map(|entry| entry.name).join(", ");
        return Err(Error::Usage(format!("--policy {name} is none of {names}")));
    };
    if !(options.eta.is_finite() && options.eta >= 0.0) {
        return Err(Error::Usage(format!(
            "--eta {}: the adaptive policy needs a finite number of at least 0",
            options.eta
        )));
    }
    Ok((entry.build)(options))
}

/// Probabilities of draws until the next redraw.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mixture {
    /// Probability that a draw is adversarial.
    pub share: f64,
    /// Probability of each attack among those, in the store's order; sums to one.
    pub probabilities: Vec<f64>,
}

/// A sampler's mixture in a checkpoint. Numbers are text, which any format preserves bit for bit (JSON readers
/// may round a number's last digit).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplerState {
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
    /// The sampler of a run's settings on a store's attacks.
    ///
    /// # Errors
    /// [`Error::Usage`] for infeasible bounds or an unknown policy.
    pub fn from_settings(settings: &Sampling, seed: u64, attacks: &[String]) -> Result<Self> {
        let bounds = Bounds::parse(&settings.bounds, attacks)?;
        let policy = policy(&settings.policy, Options { eta: settings.eta })?;
        policy.check(&bounds)?;
        Ok(Self::new(seed, settings.adv_ratio, bounds, policy))
    }

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

    /// Redraws the mixture for `period` (an epoch, or a number of steps). `errors` are the model's error rates
    /// in `[0,1]`, one per attack, since the last redraw; NaN for an attack that was not drawn.
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

    /// The current mixture.
    pub fn mixture(&self) -> &Mixture {
        &self.mixture
    }

    /// The attacks' names: draw `1 + i` is a sample of `attacks()[i]`.
    pub fn attacks(&self) -> &[String] {
        self.bounds.names()
    }

    /// The variant of an image in an epoch: 0 for the clean image, 1 + i for the
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

    /// The state that a checkpoint keeps.
    pub fn state(&self) -> SamplerState {
        SamplerState {
            share: self.mixture.share.to_string(),
            probabilities: self
                .mixture
                .probabilities
                .iter()
                .map(f64::to_string)
                .collect(),
        }
    }

    /// Restores what [`Sampler::state`] returned.
    ///
    /// # Errors
    /// [`Error::Data`] when it is not a mixture within this sampler's share and bounds.
    pub fn restore(&mut self, state: &SamplerState) -> Result<()> {
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

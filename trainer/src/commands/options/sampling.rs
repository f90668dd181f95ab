//! Options of the sampler.

use base::Result;
use clap::{
    Args,
    builder::{PossibleValue, PossibleValuesParser},
};
use cli::arguments::not_negative;

use super::{refuse_given, set};
use crate::{
    config::Sampling,
    sampler::{POLICIES, PolicyEntry, Share},
};

/// Options of the sampler, for methods that draw samples.
#[derive(Debug, Args)]
pub struct SamplingOptions {
    /// Adversarial share of the draws: a number, or a range LO..HI drawn anew at each redraw [default: 0.5]
    #[arg(long, value_name = "R|LO..HI")]
    adv_ratio: Option<Share>,
    /// Policy of the attacks' probabilities [default: uniform]
    #[arg(long, value_name = "NAME", value_parser = policies())]
    policy: Option<String>,
    /// Bounds on the part of single attacks, such as fgsm=0.05..0.3,cw=0.1..0.5; with several stores, 2/fgsm is the
    /// second one's
    #[arg(long, value_name = "LIST")]
    bounds: Option<String>,
    /// Redraw the probabilities every N steps instead of every epoch
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    redraw_every: Option<u64>,
    /// Learning rate of the probabilities (policy adaptive) [default: 1]
    #[arg(long, value_name = "ETA", value_parser = not_negative)]
    eta: Option<f64>,
}

impl SamplingOptions {
    /// Changes the sampler's settings; none for a method that draws no samples.
    ///
    /// # Errors
    /// [`Error::Usage`] for an option of another policy or of other methods.
    pub fn change(&self, settings: &mut Option<Sampling>) -> Result<()> {
        let Some(settings) = settings else {
            let options = [
                ("--adv-ratio", self.adv_ratio.is_some()),
                ("--policy", self.policy.is_some()),
                ("--bounds", self.bounds.is_some()),
                ("--redraw-every", self.redraw_every.is_some()),
                ("--eta", self.eta.is_some()),
            ];
            return refuse_given(&options, "--method joint or adversarial");
        };
        set(&mut settings.adv_ratio, &self.adv_ratio);
        set(&mut settings.policy, &self.policy);
        set(&mut settings.bounds, &self.bounds);
        set(&mut settings.redraw_every, &self.redraw_every.map(Some));
        if settings.policy != "adaptive" {
            refuse_given(&[("--eta", self.eta.is_some())], "--policy adaptive")?;
        }
        set(&mut settings.eta, &self.eta);
        Ok(())
    }
}

fn policies() -> PossibleValuesParser {
    let value = |entry: &PolicyEntry| PossibleValue::new(entry.name).help(entry.about);
    POLICIES.iter().map(value).collect::<Vec<_>>().into()
}

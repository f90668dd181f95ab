//! Options of the attack on the model that is trained.

use base::Result;
use clap::Args;
use cli::arguments::not_negative;

use super::{refuse_given, set};
use crate::{
    config::{Config, Perturbation},
    eps::Eps,
};

/// Options of the attack on the model that is trained, for methods that have one.
#[derive(Debug, Args)]
pub struct PerturbationOptions {
    /// Steps of the attack on the model that is trained [default: 10; 1 for fast-at and atta]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    steps: Option<u32>,
    /// Size of its steps, such as 2/255 [default: pgd-at 2/255, trades 0.007, fast-at 10/255, atta 4/255]
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    step_size: Option<Eps>,
    /// Epochs after which kept perturbations begin anew (method atta) [default: 10]
    #[arg(long, value_name = "EPOCHS", value_parser = clap::value_parser!(u32).range(1..))]
    reset: Option<u32>,
    /// Adversarial weight perturbation of this size relative to each weight, such as 0.005; 0 for none [default: 0]
    #[arg(long, value_name = "GAMMA", value_parser = not_negative)]
    awp: Option<f64>,
    /// Weight of the loss's second term: the distance between detector features (method joint), or the divergence
    /// under attack (method trades, where it is 6 unless set) [default: 1]
    #[arg(long, value_name = "B", value_parser = not_negative)]
    beta: Option<f64>,
}

impl PerturbationOptions {
    /// Changes the settings of the attack, or of the joint loss.
    ///
    /// # Errors
    /// [`Error::Usage`] for an option that the method does not have.
    pub fn change(&self, config: &mut Config) -> Result<()> {
        if let Some(beta) = self.beta {
            match (&mut config.joint, &mut config.perturbation) {
                (Some(joint), _) => joint.beta = beta,
                (
                    _,
                    Some(Perturbation {
                        beta: Some(weight), ..
                    }),
                ) => *weight = beta,
                _ => refuse_given(&[("--beta", true)], "--method joint or trades")?,
            }
        }
        let Some(settings) = &mut config.perturbation else {
            let options = [
                ("--steps", self.steps.is_some()),
                ("--step-size", self.step_size.is_some()),
                ("--reset", self.reset.is_some()),
                ("--awp", self.awp.is_some()),
            ];
            return refuse_given(&options, "--method pgd-at, trades, fast-at or atta");
        };
        set(&mut settings.steps, &self.steps);
        set(&mut settings.step_size, &self.step_size);
        let awp = self.awp.map(|awp| (awp > 0.0).then_some(awp));
        set(&mut settings.awp, &awp);
        if settings.reset.is_none() {
            refuse_given(&[("--reset", self.reset.is_some())], "--method atta")?;
        }
        set(&mut settings.reset, &self.reset.map(Some));
        Ok(())
    }
}

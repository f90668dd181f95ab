//! Inner maximization of adversarial training: signed-gradient steps in an Linf ball around the batch's images,
//! against the trained model in evaluation mode, so that the attack moves no running statistics.

use attacks::signed_gradient::{SignedGradient, noise, uniform_noise};
use base::{Result, random};
use candle_core::Tensor;

use crate::{batch::TrainBatch, config::Perturbation};

/// The attack of a run.
pub struct InnerMaximization {
    attack: SignedGradient,
    seed: u64,
}

impl InnerMaximization {
    /// The attack of these settings; `seed` keys its random starts.
    pub fn new(settings: &Perturbation, seed: u64) -> Self {
        let attack = SignedGradient {
            eps: settings.eps.value(),
            step: settings.step_size.value(),
            steps: settings.steps,
            ..SignedGradient::default()
        };
        Self { attack, seed }
    }

    /// Radius of the ball.
    pub fn eps(&self) -> f64 {
        self.attack.eps
    }

    /// The last iterate of the attack from `start`; `gradient` gives what is ascended at an iterate. All
    /// `[B,3,32,32]`. Images with a gradient that is not finite become NaN, and so does the loss, which updates nothing.
    pub fn ascend(
        &self,
        batch: &TrainBatch,
        start: Tensor,
        gradient: &dyn Fn(&Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let ascended = self.attack.ascend(&batch.images, start, gradient)?;
        ascended.finite.mark(&ascended.images)
    }

    /// A start that is uniform in the ball.
    pub fn uniform_start(&self, batch: &TrainBatch) -> Result<Tensor> {
        let noise = uniform_noise(&batch.images, self.attack.eps, &self.keys(batch))?;
        Ok((&batch.images + noise)?)
    }

    /// A start with normal noise of this standard deviation.
    pub fn normal_start(&self, batch: &TrainBatch, deviation: f64) -> Result<Tensor> {
        let normal = |key, i| deviation * f64::from(random::normal_at(key, i));
        Ok((&batch.images + noise(&batch.images, &self.keys(batch), normal)?)?)
    }

    /// Keys of the batch's random numbers: functions of the seed, the step and the image.
    fn keys(&self, batch: &TrainBatch) -> Vec<u64> {
        let key = |&id: &u64| random::key(self.seed, "inner", &[batch.schedule_step, id]);
        batch.ids.iter().map(key).collect()
    }
}

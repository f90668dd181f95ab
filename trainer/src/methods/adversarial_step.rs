//! Training step of the methods that attack the model they train: adversarial examples of the batch, then an SGD
//! step on the method's loss, with perturbed weights if asked for.

use std::collections::BTreeMap;

use base::Result;
use candle_core::Tensor;
use nn::model::{Classifier, Network, Weights};

use super::{
    ClassifierStep, DetectorContext, MethodInputs, Step, StepOutput, atta::Perturbations, awp::Awp,
};
use crate::batch::TrainBatch;

/// What distinguishes these methods.
pub trait AdversarialLoss {
    /// Adversarial examples of the batch against the model in evaluation mode, `[B,3,32,32]`.
    fn examples(&mut self, model: &dyn Classifier, batch: &TrainBatch) -> Result<Tensor>;

    /// The loss that is minimized, from the model in training mode: the cross entropy of the examples, unless the
    /// method has another; `cross_entropy` is the run's, of smoothed labels.
    fn loss(
        &self,
        model: &dyn Network,
        _images: &Tensor,
        examples: &Tensor,
        cross_entropy: &dyn Fn(&Tensor) -> Result<Tensor>,
    ) -> Result<Losses> {
        let logits = model.train(examples)?.logits;
        let loss = cross_entropy(&logits)?;
        Ok(Losses {
            whole: loss.clone(),
            cross_entropy: loss,
            logits,
        })
    }

    /// Perturbations that a checkpoint keeps (ATTA).
    fn perturbations(&self) -> Option<&Perturbations> {
        None
    }

    /// The same, to be restored.
    fn perturbations_mut(&mut self) -> Option<&mut Perturbations> {
        None
    }
}

/// Losses of a batch, and the logits that they were computed from.
pub struct Losses {
    /// The whole loss.
    pub whole: Tensor,
    /// Its cross entropy.
    pub cross_entropy: Tensor,
    /// `[B,classes]`.
    pub logits: Tensor,
}

impl Losses {
    /// The values without the graph that computed them, which holds the memory of all activations.
    pub fn detach(&self) -> Self {
        Self {
            whole: self.whole.detach(),
            cross_entropy: self.cross_entropy.detach(),
            logits: self.logits.detach(),
        }
    }
}

/// The model, its optimizer and the method's loss.
pub struct AdversarialStep<L> {
    classifier: ClassifierStep,
    awp: Option<Awp>,
    loss: L,
}

impl<L: AdversarialLoss + 'static> AdversarialStep<L> {
    /// A method's row builds this.
    pub fn build(inputs: MethodInputs, loss: L) -> Result<Box<dyn Step>> {
        let config = inputs.config;
        let awp = config.perturbation.as_ref().and_then(|p| p.awp);
        let awp = awp.map(|gamma| Awp::new(inputs.target.as_ref(), gamma));
        Ok(Box::new(Self {
            awp: awp.transpose()?,
            classifier: ClassifierStep::new(inputs.target, &config.optimizer)?,
            loss,
        }))
    }
}

impl<L: AdversarialLoss> Step for AdversarialStep<L> {
    fn step(&mut self, batch: &TrainBatch, lr_factor: f64) -> Result<StepOutput> {
        let model = self.classifier.model();
        let examples = self.loss.examples(model.eval()?.as_ref(), batch)?;
        let losses = |model: &dyn Network| {
            let cross_entropy = |logits: &Tensor| self.classifier.cross_entropy(logits, batch);
            self.loss
                .loss(model, &batch.images, &examples, &cross_entropy)
        };
        let perturbation = match &self.awp {
            None => None,
            Some(awp) => {
                let weights = model.weights();
                Some(awp.perturbation(weights, |proxy| Ok(losses(proxy)?.whole))?)
            }
        };
        if let Some(perturbation) = &perturbation {
            perturbation.apply()?;
        }
        let losses = losses(model)?;
        self.classifier.step_on(&losses.whole, lr_factor)?;
        if let Some(perturbation) = &perturbation {
            perturbation.undo()?;
        }
        self.classifier.average(batch)?;
        let losses = losses.detach();
        Ok(StepOutput {
            step: batch.step,
            loss: losses.whole,
            cross_entropy: losses.cross_entropy,
            smooth_l1: None,
            detector_loss: None,
            logits: losses.logits,
            detector_logits: None,
        })
    }

    fn model(&self) -> &dyn Network {
        self.classifier.model()
    }

    fn evaluated(&self) -> &dyn Network {
        self.classifier.evaluated()
    }

    fn detector(&self) -> Option<DetectorContext<'_>> {
        None
    }

    fn parts(&self) -> Result<BTreeMap<&'static str, Weights>> {
        self.classifier.parts()
    }

    fn restore(&mut self, parts: &BTreeMap<String, Weights>) -> Result<()> {
        self.classifier.restore(parts)
    }

    fn perturbations(&self) -> Option<&Perturbations> {
        self.loss.perturbations()
    }

    fn perturbations_mut(&mut self) -> Option<&mut Perturbations> {
        self.loss.perturbations_mut()
    }
}

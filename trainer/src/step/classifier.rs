//! Plain classification: cross entropy on whatever the batch shows. It trains the baseline on
//! clean draws and the robust model on mixed ones.

use std::collections::BTreeMap;

use base::Result;
use candle_core::Tensor;
use nn::model::{Features, Network, Weights};

use super::{Seen, Step, Watch, part};
use crate::{batch::TrainBatch, config::Optimizer, optimizer::Sgd};

/// A model and its optimizer.
pub struct Classification {
    net: Box<dyn Network>,
    sgd: Sgd,
    lr: f64,
}

impl Classification {
    /// Trains `net`.
    pub fn new(net: Box<dyn Network>, optimizer: &Optimizer) -> Result<Self> {
        let variables = net.weights().variables()?;
        Ok(Self {
            sgd: Sgd::new(variables, optimizer.momentum, optimizer.weight_decay)?,
            lr: optimizer.lr,
            net,
        })
    }

    /// The model.
    pub fn net(&self) -> &dyn Network {
        self.net.as_ref()
    }

    /// Features and cross entropy of a batch, in training mode.
    pub fn look(&self, batch: &TrainBatch) -> Result<(Features, Tensor)> {
        let features = self.net.train(&batch.images)?;
        let loss = nn::cross_entropy(&features.logits, &batch.targets()?)?;
        Ok((features, loss))
    }

    /// Moves the model down the slope of `loss`.
    pub fn descend(&mut self, loss: &Tensor, factor: f64) -> Result<()> {
        self.sgd.step(loss, self.lr * factor)
    }
}

impl Step for Classification {
    fn step(&mut self, batch: &TrainBatch, factor: f64) -> Result<Seen> {
        let (features, loss) = self.look(batch)?;
        self.descend(&loss, factor)?;
        let loss = loss.detach();
        Ok(Seen {
            step: batch.step,
            cross_entropy: loss.clone(),
            loss,
            smooth_l1: None,
            detector_loss: None,
            logits: features.logits.detach(),
            detector_logits: None,
        })
    }

    fn net(&self) -> &dyn Network {
        self.net.as_ref()
    }

    fn watch(&self) -> Option<Watch<'_>> {
        None
    }

    fn parts(&self) -> Result<BTreeMap<&'static str, Weights>> {
        Ok(BTreeMap::from([
            ("model", self.net.weights().clone()),
            ("model-momentum", self.sgd.state()?.into_iter().collect()),
        ]))
    }

    fn restore(&mut self, parts: &BTreeMap<String, Weights>) -> Result<()> {
        self.net.weights().set(part(parts, "model")?)?;
        self.sgd.restore(part(parts, "model-momentum")?.tensors())
    }
}

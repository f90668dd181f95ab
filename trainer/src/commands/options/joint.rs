//! Options of the detector.

use base::Result;
use clap::Args;
use cli::arguments::{choice, not_negative, part};
use nn::model::DetectorInput;

use super::{refuse_given, set};
use crate::config::{DetectorOptimizer, Joint, Updates};

/// Options of the detector, for method joint only.
#[derive(Debug, Args)]
pub struct JointOptions {
    /// Input feature maps of the detector (method joint) [default: full]
    #[arg(long, value_enum, value_name = "MAPS")]
    detector_input: Option<DetectorInput>,
    /// Transformer layers of the detector, 1 to 12 (method joint) [default: 2]
    #[arg(long, value_name = "N")]
    detector_layers: Option<usize>,
    /// Optimizer of the detector (method joint) [default: sgd]
    #[arg(long, value_name = "NAME", value_parser = choice::<DetectorOptimizer>())]
    detector_optimizer: Option<DetectorOptimizer>,
    /// Base learning rate of the detector (method joint) [default: 0.01]
    #[arg(long, value_name = "RATE", value_parser = not_negative)]
    detector_lr: Option<f64>,
    /// Dropout of the detector (method joint) [default: 0.1]
    #[arg(long, value_name = "P", value_parser = part)]
    dropout: Option<f64>,
    /// One step on both terms of the loss, or one on each (method joint) [default: joint]
    #[arg(long, value_name = "HOW", value_parser = choice::<Updates>())]
    updates: Option<Updates>,
    /// Weight of the cross entropy (method joint) [default: 1]
    #[arg(long, value_name = "A", value_parser = not_negative)]
    alpha: Option<f64>,
}

impl JointOptions {
    /// Changes the detector's settings; none for a method without it.
    ///
    /// # Errors
    /// [`Error::Usage`] for an option that the method does not have.
    pub fn change(&self, settings: &mut Option<Joint>) -> Result<()> {
        let Some(settings) = settings else {
            let options = [
                ("--detector-input", self.detector_input.is_some()),
                ("--detector-layers", self.detector_layers.is_some()),
                ("--detector-optimizer", self.detector_optimizer.is_some()),
                ("--detector-lr", self.detector_lr.is_some()),
                ("--dropout", self.dropout.is_some()),
                ("--updates", self.updates.is_some()),
                ("--alpha", self.alpha.is_some()),
            ];
            return refuse_given(&options, "--method joint");
        };
        set(&mut settings.alpha, &self.alpha);
        set(&mut settings.detector_input, &self.detector_input);
        set(&mut settings.detector_layers, &self.detector_layers);
        set(&mut settings.detector_optimizer, &self.detector_optimizer);
        set(&mut settings.detector_lr, &self.detector_lr);
        set(&mut settings.dropout, &self.dropout);
        set(&mut settings.updates, &self.updates);
        Ok(())
    }
}

//! Options for a model's input normalization: `--mean` and `--std`.

use base::{Error, Result};
use nn::model::{Channels, Normalization};

/// Normalization options, beside the option that names a model or a data set.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct NormalizationArguments {
    /// Mean per channel in [0,1] that the model subtracts from its inputs, such as 0.4914,0.4822,0.4465
    #[arg(
        long,
        value_name = "R,G,B",
        requires = "std",
        allow_hyphen_values = true
    )]
    mean: Option<Channels>,
    /// Standard deviation per channel that the model divides by, such as 0.2023,0.1994,0.2010 [default: from the weights' metadata, else no normalization]
    #[arg(long, value_name = "R,G,B", requires = "mean")]
    std: Option<Channels>,
}

impl NormalizationArguments {
    /// The normalization on the command line, if any.
    ///
    /// # Errors
    /// [`Error::Usage`] for a mean outside `[0,1]`, or a standard deviation that is not above 0.
    pub fn given(&self) -> Result<Option<Normalization>> {
        let (Some(mean), Some(std)) = (self.mean, self.std) else {
            return Ok(None);
        };
        if !mean.0.iter().all(|mean| (0.0..=1.0).contains(mean)) {
            return Err(Error::Usage(format!(
                "--mean {mean}: numbers from 0 to 1 are expected; divide those of pixels in 0 to 255 by 255, and --std, too"
            )));
        }
        match (Normalization { mean, std }).checked("") {
            Ok(given) => Ok(Some(given)),
            Err(_) => Err(Error::Usage(format!(
                "--std {std}: numbers above 0 are expected"
            ))),
        }
    }
}

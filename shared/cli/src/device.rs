//! Device options: `--device`, `--precision`, `--deterministic`.

use base::{Error, Result};
use nn::{ComputeDevice, ComputeOptions, Precision, device::DeviceChoice};

use crate::arguments::choice;

/// Options for where and how precisely tensors are computed.
#[derive(Clone, Debug, clap::Args)]
pub struct DeviceArguments {
    /// Device: auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto", value_name = "D")]
    device: DeviceChoice,
    /// Arithmetic of the models; tf32 and bf16 are faster and less precise, CUDA only [default: f32]
    #[arg(long, value_name = "P", value_parser = choice::<Precision>())]
    pub precision: Option<Precision>,
    /// On CUDA, use only algorithms that are reproducible bit for bit
    #[arg(long)]
    deterministic: bool,
}

impl DeviceArguments {
    /// The precision that was asked for, or the default.
    pub fn precision(&self) -> Precision {
        self.precision.unwrap_or_default()
    }

    /// The same with another default precision.
    #[must_use]
    pub fn or_precision(&self, default: Precision) -> Self {
        Self {
            precision: self.precision.or(Some(default)),
            ..self.clone()
        }
    }

    /// Opens the device for models of this precision.
    ///
    /// # Errors
    /// [`Error::NoDevice`] when a CUDA device was asked for and cannot be opened, [`Error::Usage`]
    /// when the CPU cannot compute like that.
    pub fn open(&self) -> Result<ComputeDevice> {
        let (device, precision) = (self.device.open()?, self.precision());
        if device.is_cpu() && precision != Precision::F32 {
            let found = format!("--precision {precision} is for CUDA");
            return Err(Error::Usage(format!("{found}, the CPU computes in f32")));
        }
        let options = ComputeOptions {
            precision,
            deterministic: self.deterministic,
        };
        Ok(nn::prepare(device, options)?)
    }
}

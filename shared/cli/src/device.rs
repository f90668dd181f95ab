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
    /// Arithmetic of the models; tf32 and bf16 are faster and less precise, CUDA only
    #[arg(long, default_value_t, value_name = "P", value_parser = choice::<Precision>())]
    pub precision: Precision,
    /// On CUDA, use only algorithms that are reproducible bit for bit
    #[arg(long)]
    deterministic: bool,
}

impl DeviceArguments {
    /// Opens the device for models of this precision.
    ///
    /// # Errors
    /// [`Error::NoDevice`] when a CUDA device was asked for and cannot be opened, [`Error::Usage`]
    /// when the CPU cannot compute like that.
    pub fn open(&self) -> Result<ComputeDevice> {
        let device = self.device.open()?;
        if device.is_cpu() && self.precision != Precision::F32 {
            let found = format!("--precision {} is for CUDA", self.precision);
            return Err(Error::Usage(format!("{found}, the CPU computes in f32")));
        }
        let options = ComputeOptions {
            precision: self.precision,
            deterministic: self.deterministic,
        };
        Ok(nn::prepare(device, options)?)
    }
}

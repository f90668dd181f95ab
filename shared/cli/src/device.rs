//! Options for where and how exactly tensors are computed: `--device`, `--precision`, `--deterministic`.

use base::{Error, Result};
use candle_core::Device;
use nn::{ComputeOptions, Precision, device::DeviceChoice};

use crate::arguments::choice;

/// The command line's part about computing.
#[derive(Clone, Debug, clap::Args)]
pub struct DeviceArguments {
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto", value_name = "D")]
    device: DeviceChoice,
    /// What models are computed with; tf32 and bf16 are faster, less exact, and for CUDA
    #[arg(long, default_value_t, value_name = "P", value_parser = choice::<Precision>())]
    pub precision: Precision,
    /// On CUDA, compute only in ways that repeat to the bit
    #[arg(long)]
    deterministic: bool,
}

impl DeviceArguments {
    /// Opens the device and makes this the program's arithmetic.
    ///
    /// # Errors
    /// [`Error::NoDevice`] when a CUDA device was asked for and cannot be opened, [`Error::Usage`]
    /// when the CPU cannot compute like that.
    pub fn open(&self) -> Result<Device> {
        let device = self.device.open()?;
        if device.is_cpu() && self.precision != Precision::F32 {
            let found = format!("--precision {} is for CUDA", self.precision);
            return Err(Error::Usage(format!("{found}, the CPU computes in f32")));
        }
        nn::prepare(
            &device,
            ComputeOptions {
                precision: self.precision,
                deterministic: self.deterministic,
            },
        )?;
        Ok(device)
    }
}

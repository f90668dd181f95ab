//! Choice of the device: `--device auto|cpu|cuda|cuda:N`. Asking for CUDA where there is none is an error,
//! never a silent fallback.

use std::{fmt, str::FromStr};

use candle_core::Device;

use crate::{ComputeDevice, Precision, device_memory};
use base::{Error, Result, log};

/// Whether this program was built with CUDA.
pub const HAS_CUDA: bool = crate::cuda::ENABLED;

/// The user's choice of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    /// CUDA when there is a CUDA device, the CPU otherwise.
    Auto,
    /// The CPU, all cores (set `RAYON_NUM_THREADS` for fewer).
    Cpu,
    /// The CUDA device of this index.
    Cuda(usize),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => text
                .strip_prefix("cuda:")
                .and_then(|index| index.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| format!("'{text}' is none of auto, cpu, cuda, cuda:N")),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Auto => write!(f, "auto"),
            Self::Cpu => write!(f, "cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl DeviceChoice {
    /// Opens the device.
    ///
    /// # Errors
    /// [`Error::NoDevice`] when a CUDA device was asked for and cannot be opened.
    pub fn open(self) -> Result<Device> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            // A stream of the program's own, so that all work on the device has one order.
            Self::Auto => Ok(Device::new_cuda_with_stream(0).unwrap_or(Device::Cpu)),
            Self::Cuda(index) => Device::new_cuda_with_stream(index).map_err(|reason| {
                let cause = if candle_core::utils::cuda_is_available() {
                    first_line(&reason.to_string())
                } else {
                    "this program was built without CUDA (build it with `--features cuda`)".into()
                };
                Error::NoDevice(format!("--device cuda:{index}: {cause}"))
            }),
        }
    }
}

/// The device and how it computes, in words, for the plan a program prints and for a store's
/// `device`.
pub fn describe(device: &ComputeDevice) -> String {
    let precision = device.options.precision;
    match (&device.device, device.options.deterministic) {
        (Device::Cpu, _) => format!("cpu, {} threads", rayon::current_num_threads()),
        (_, false) => format!("{}, {precision}", name(device)),
        (_, true) => format!("{}, {precision}, deterministic", name(device)),
    }
}

/// Logs how much memory of a CUDA device a batch will take at least: `activations` numbers of each image
/// ([`activation_count`](crate::model::Network::activation_count)) beside what is in use already. Logs nothing on
/// the CPU.
///
/// # Errors
/// [`Error::OutOfMemory`] when not even that fits.
pub fn log_memory(device: &ComputeDevice, activations: usize, batch_size: usize) -> Result<()> {
    let Some(free) = device_memory::free(device)? else {
        return Ok(());
    };
    let number = match device.options.precision {
        Precision::Bf16 => 2,
        Precision::F32 | Precision::Tf32 => 4,
    };
    let needed = (activations * batch_size * number) as u64;
    log::info(format_args!(
        "memory: {} free on {}; a batch of {batch_size} images takes at least {}",
        gigabytes(free),
        name(device),
        gigabytes(needed)
    ));
    if needed < free {
        Ok(())
    } else {
        Err(Error::OutOfMemory { batch_size })
    }
}

/// Logs the most memory that the work has used of a CUDA device.
pub fn log_peak_memory(device: &Device) -> Result<()> {
    if let Some(peak) = device_memory::peak(device)? {
        let (peak, name) = (gigabytes(peak), name(device));
        log::info(format_args!(
            "memory: {peak} of {name} in use at once, at most"
        ));
    }
    Ok(())
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.2} GB", bytes as f64 / 1e9)
}

/// The device as `--device` spells it.
pub fn name(device: &Device) -> String {
    match device.location() {
        candle_core::DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
        candle_core::DeviceLocation::Metal { gpu_id } => format!("metal:{gpu_id}"),
        candle_core::DeviceLocation::Cpu => "cpu".into(),
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_choice_parses_what_it_displays() {
        for choice in [DeviceChoice::Auto, DeviceChoice::Cpu, DeviceChoice::Cuda(3)] {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        assert_eq!("cuda".parse(), Ok(DeviceChoice::Cuda(0)));
        assert!("gpu".parse::<DeviceChoice>().is_err());
        assert!("cuda:x".parse::<DeviceChoice>().is_err());
    }

    #[test]
    fn cuda_without_cuda_is_refused_and_never_replaced_by_the_cpu() {
        if HAS_CUDA {
            return;
        }
        let error = DeviceChoice::Cuda(0).open().unwrap_err();
        assert_eq!(error.exit_code(), 4);
        assert!(error.to_string().contains("without CUDA"), "{error}");
    }
}

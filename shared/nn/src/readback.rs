//! Asynchronous reading of small tensors: on CUDA they are copied to pinned memory in the order of the device's work,
//! and reading them waits for these copies alone, not for what was launched after them; on the CPU they are there.

use candle_core::{Device, Result, Tensor};

use crate::cuda;

/// Starts copies to the host, and keeps their memory for the next ones.
#[derive(Debug)]
pub enum ReadbackQueue {
    /// Nothing has to be copied.
    Cpu,
    /// Copies through pinned memory.
    Cuda(cuda::Downloader),
}

impl ReadbackQueue {
    /// For tensors of this device.
    pub fn new(device: &Device) -> Result<Self> {
        match device {
            Device::Cuda(device) => Ok(Self::Cuda(cuda::Downloader::new(device)?)),
            _ => Ok(Self::Cpu),
        }
    }

    /// Starts copying contiguous f32 tensors.
    pub fn start(&self, tensors: Vec<Tensor>) -> Result<Readback> {
        match self {
            Self::Cpu => Ok(Readback::Cpu(tensors)),
            Self::Cuda(downloader) => Ok(Readback::Cuda(downloader.start(&tensors)?)),
        }
    }
}

/// Tensors on their way to the host.
#[derive(Debug)]
pub enum Readback {
    /// They are there.
    Cpu(Vec<Tensor>),
    /// They are being copied.
    Cuda(cuda::Download),
}

impl Readback {
    /// The tensors on the CPU; waits for their copies.
    pub fn finish(self) -> Result<Vec<Tensor>> {
        match self {
            Self::Cpu(tensors) => Ok(tensors),
            Self::Cuda(download) => download.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_readback_on_the_cpu_returns_the_tensors_themselves() {
        let queue = ReadbackQueue::new(&Device::Cpu).unwrap();
        let tensor = Tensor::new(&[1f32, 2.0], &Device::Cpu).unwrap();
        let read = queue.start(vec![tensor.clone()]).unwrap().finish().unwrap();
        assert_eq!((read.len(), read[0].id()), (1, tensor.id()));
    }
}

//! Memory of a CUDA device: free, used, and given back by the pool; the CPU's is left to the system.

use base::error::is_out_of_memory;
use candle_core::{Device, Result};

use crate::cuda;

/// Free bytes of a CUDA device.
pub fn free(device: &Device) -> Result<Option<u64>> {
    match device {
        Device::Cuda(device) => cuda::free_memory(device).map(Some),
        _ => Ok(None),
    }
}

/// The most bytes of a CUDA device that this program has used at once.
pub fn peak(device: &Device) -> Result<Option<u64>> {
    match device {
        Device::Cuda(device) => cuda::peak_memory(device).map(Some),
        _ => Ok(None),
    }
}

/// Does `work` once more if the device had no memory left for it, after the pool of a CUDA device has given back
/// what it keeps unused. The work must have no effect but its result.
///
/// # Errors
/// Those of `work`.
pub fn retry_out_of_memory<T>(
    device: &Device,
    work: impl FnMut() -> base::Result<T>,
) -> base::Result<T> {
    let failed = |error: &base::Error| match error {
        base::Error::Tensor(reason) => is_out_of_memory(reason),
        _ => false,
    };
    match device {
        Device::Cuda(device) => retry(work, failed, || Ok(cuda::release_memory(device)?)),
        _ => retry(work, |_| false, || Ok(())),
    }
}

/// Does `work` a second time, after `recover`, if it fails with an error for which `recoverable` holds.
pub fn retry<T, E>(
    mut work: impl FnMut() -> std::result::Result<T, E>,
    recoverable: impl FnOnce(&E) -> bool,
    recover: impl FnOnce() -> std::result::Result<(), E>,
) -> std::result::Result<T, E> {
    match work() {
        Err(error) if recoverable(&error) => {
            recover()?;
            work()
        }
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_out_of_memory_error_is_retried_once_after_the_pool_is_trimmed() {
        // Fails with these errors, then succeeds; returns its result, and how often the pool was trimmed.
        let run = |errors: &[&'static str]| {
            let (mut errors, mut trimmed) = (errors.iter(), 0);
            let work = || match errors.next() {
                Some(&error) => Err(error),
                None => Ok(errors.len()),
            };
            let trim = || {
                trimmed += 1;
                Ok(())
            };
            (retry(work, |error| *error == "memory", trim), trimmed)
        };
        assert_eq!(run(&[]), (Ok(0), 0));
        assert_eq!(run(&["memory"]), (Ok(0), 1));
        assert_eq!(run(&["memory", "memory"]), (Err("memory"), 1));
        assert_eq!(run(&["shape"]), (Err("shape"), 0));
    }
}

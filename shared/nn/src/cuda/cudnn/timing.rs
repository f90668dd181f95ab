//! Time of work on a device's stream.

use std::sync::Arc;

use candle_core::{
    Error, Result,
    cuda_backend::{
        CudaDevice,
        cudarc::driver::{CudaEvent, CudaStream, sys::CUevent_flags},
    },
};

/// Measured runs; the fastest counts.
const RUNS: usize = 4;
/// What takes this many times as long as the fastest so far is measured once.
const HOPELESS: f32 = 1.5;

/// Events on a stream.
pub struct Timer {
    stream: Arc<CudaStream>,
    start: CudaEvent,
    end: CudaEvent,
}

impl Timer {
    /// For a device.
    pub fn new(device: &CudaDevice) -> Result<Self> {
        let stream = device.cuda_stream();
        let event = || {
            let event = stream
                .context()
                .new_event(Some(CUevent_flags::CU_EVENT_DEFAULT));
            event.map_err(Error::wrap)
        };
        Ok(Self {
            start: event()?,
            end: event()?,
            stream,
        })
    }

    /// Milliseconds of the fastest of a few runs, after one that loads the kernels; `best` is that of what it competes with.
    pub fn fastest(&self, best: f32, mut run: impl FnMut() -> Result<()>) -> Result<f32> {
        run()?;
        let mut least = f32::INFINITY;
        for _ in 0..RUNS {
            self.start.record(&self.stream).map_err(Error::wrap)?;
            run()?;
            self.end.record(&self.stream).map_err(Error::wrap)?;
            least = least.min(self.start.elapsed_ms(&self.end).map_err(Error::wrap)?);
            if least > HOPELESS * best {
                break;
            }
        }
        Ok(least)
    }
}

//! Running averages of weights, in place.

use candle_core::{Result, Tensor};

use crate::cuda;

/// `average = kept * average + (1 - kept) * weight` of each pair of f32 tensors.
pub fn average(pairs: &[(Tensor, Tensor)], kept: f64) -> Result<()> {
    if pairs
        .first()
        .is_some_and(|(average, _)| average.device().is_cuda())
    {
        return cuda::average(pairs, kept);
    }
    for (average, weight) in pairs {
        let mean = ((average.detach() * kept)? + (weight.detach() * (1.0 - kept))?)?;
        average.slice_set(&mean, 0, 0)?;
    }
    Ok(())
}

//! Convolutions with what follows on them element by element: one kernel where cuDNN has one that is faster than two.

use candle_core::{CudaStorage, Result, bail};

use super::{
    super::{
        MapType,
        cudnn::{Cudnn, Task, with_cudnn},
        elementwise::epilogue,
        feature_map::{self, address_of, alloc, map_type, padded_shape},
    },
    problem::{Direction, EPILOGUE_IDS, Epilogue, Problem, named},
    weights::{PackedWeights, checked, run},
};
use kernels::shape::ConvShape;

impl PackedWeights {
    /// `relu(conv(x) + residual + shift)` with a shift for each padded channel; residual and ReLU are optional.
    pub fn forward_with(
        &self,
        shape: &ConvShape,
        x: &CudaStorage,
        shift: &CudaStorage,
        residual: Option<&CudaStorage>,
        relu: bool,
    ) -> Result<CudaStorage> {
        let (stored, of_x) = (padded_shape(shape), map_type(x)?);
        let len = stored.output().numel();
        let y = alloc(&x.device, of_x, len)?;
        let plain = self.problem(stored, Direction::Forward, of_x);
        let fused = Problem {
            epilogue: Some(Epilogue {
                residual: residual.is_some(),
                relu,
            }),
            ..plain
        };

        let addresses = checked(&plain, [x, self.stored(), &y])?;
        let mut operands = addresses.named().to_vec();
        let others = [
            (Some(shift), MapType::F32, stored.c_out),
            (residual, of_x, len),
        ];
        for (id, (other, element, len)) in EPILOGUE_IDS.into_iter().zip(others) {
            let Some(other) = other else { continue };
            if map_type(other)? != element || feature_map::len(other) != len {
                bail!("an operand that does not fit the epilogue of {stored:?}")
            }
            operands.push(named((id, address_of(other)?)));
        }
        let separately = |cudnn: &mut Cudnn| {
            // SAFETY: sizes and types were just checked.
            unsafe { run(cudnn, plain, addresses) }?;
            epilogue(&y, Some(shift), residual, relu, stored.c_out)
        };
        with_cudnn(&x.device, |cudnn| {
            // SAFETY: as above.
            unsafe { cudnn.run_fused(&Task::Convolution(fused), &operands, separately) }
        })?;
        Ok(y)
    }
}

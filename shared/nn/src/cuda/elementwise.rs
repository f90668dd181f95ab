//! ReLU as an operation of its own, by the kernels of the convolutions' epilogue.

use candle_core::{CudaStorage, Layout, Result, Tensor};

use super::{
    filter::{cut, finish},
    map::{self, Lent, copy, enter, kind, leave, padded, room, tensor, with_storages},
};
use crate::convolution::{pictures, shape};

/// `max(x, 0)` of `[B,H,W,C]`; a NaN stays one.
pub fn relu((x, layout): (&CudaStorage, &Layout)) -> Result<CudaStorage> {
    let (size, kind) = (pictures(layout.shape())?, kind(x)?);
    let y = match enter(x, layout, size.channels, kind)? {
        Lent::Own(y) => y,
        Lent::Theirs(x) => copy(x)?,
    };
    finish(&y, None, None, true, padded(size.channels))?;
    leave(y, size, kind)
}

/// `gradient` where the ReLU's result `y` is positive, zero elsewhere.
pub fn relu_backward(y: &Tensor, gradient: &Tensor) -> Result<Tensor> {
    let size = pictures(y.shape())?;
    with_storages([y, gradient], |[y, gradient]| {
        let kind = kind(y.0)?;
        let y = enter(y.0, y.1, size.channels, kind)?;
        let gradient = enter(gradient.0, gradient.1, size.channels, kind)?;
        let grad_x = room(&y.device, kind, map::len(&y))?;
        cut(&gradient, None, Some(&y), &grad_x)?;
        Ok(tensor(leave(grad_x, size, kind)?, shape(size)))
    })
}

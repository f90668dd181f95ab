//! CUDA in a program that was built without it: every function is an error.

use candle_core::{CudaStorage, Layout, Result, Tensor, bail};

macro_rules! disabled {
    ($($(#[$doc:meta])* fn $name:ident($($argument:ty),*) -> $result:ty;)*) => {$(
        $(#[$doc])*
        pub fn $name($(_: $argument),*) -> Result<$result> {
            bail!("this program was built without CUDA (build it with `--features cuda`)")
        }
    )*};
}

disabled! {
    fn batch_norm_train((&CudaStorage, &Layout), [(&CudaStorage, &Layout); 2], f64) -> (CudaStorage, [Tensor; 3]);
    fn batch_norm_backward(&Tensor, [&Tensor; 3], &Tensor) -> (Tensor, [Tensor; 2]);
    fn batch_norm_eval((&CudaStorage, &Layout), [&Tensor; 4]) -> CudaStorage;
    fn relu((&CudaStorage, &Layout)) -> CudaStorage;
    fn relu_backward(&Tensor, &Tensor) -> Tensor;
}

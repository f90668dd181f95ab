//! Attention of one size: what is computed from what, under which options.

use std::{ffi::c_void, fmt, ptr::from_ref};

use candle_core::cuda_backend::cudarc::driver::sys::CUdeviceptr;

use super::super::cudnn::plan::NamedAddress;
use crate::ComputeOptions;

/// Names of the operands in a variant pack: queries, keys, values, result, scale.
pub const OPERAND_IDS: [i64; 5] = [1, 2, 3, 4, 5];

/// What a plan is chosen for; all tensors are bf16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Problem {
    /// Images.
    pub batch: usize,
    /// Heads.
    pub heads: usize,
    /// Tokens that attend.
    pub queries: usize,
    /// Tokens that are attended to.
    pub keys: usize,
    /// Of a head.
    pub size: usize,
    /// Precision and determinism.
    pub options: ComputeOptions,
}

/// Addresses of `[B,H,M,S]`, `[B,H,N,S]` twice, `[B,M,H,S]`, which is written, and of the scores' factor.
#[derive(Clone, Copy, Debug)]
pub struct Operands<'a> {
    /// Queries.
    pub query: CUdeviceptr,
    /// Keys.
    pub key: CUdeviceptr,
    /// Values.
    pub value: CUdeviceptr,
    /// The mixed values.
    pub result: CUdeviceptr,
    /// On the host.
    pub scale: &'a f32,
}

impl Operands<'_> {
    /// With their names in a variant pack.
    pub fn named(self) -> [NamedAddress; 5] {
        let device = |address: CUdeviceptr| address as *mut c_void;
        let addresses = [
            device(self.query),
            device(self.key),
            device(self.value),
            device(self.result),
            from_ref(self.scale).cast_mut().cast(),
        ];
        std::array::from_fn(|i| NamedAddress {
            id: OPERAND_IDS[i],
            address: addresses[i],
        })
    }
}

impl Problem {
    /// Images, and elements of the largest operand.
    pub fn images_and_largest(&self) -> (usize, usize) {
        let tokens = self.queries.max(self.keys);
        (self.batch, self.batch * self.heads * tokens * self.size)
    }
}

/// As the file of plans names it.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self {
            batch,
            heads,
            queries,
            keys,
            size,
            options,
        } = self;
        write!(
            f,
            "attention of {batch}x{heads}x{queries}x{size} to {keys}, {}{}",
            options.precision,
            if options.deterministic {
                ", deterministic"
            } else {
                ""
            }
        )
    }
}

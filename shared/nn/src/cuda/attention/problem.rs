//! Attention of one size: what is computed from what, under which options.

use std::{ffi::c_void, fmt, ptr::from_ref};

use candle_core::cuda_backend::cudarc::driver::sys::CUdeviceptr;

use super::super::cudnn::plan::NamedAddress;
use crate::ComputeOptions;

// Names of the operands in graphs and variant packs.

/// Queries, `[B,H,M,S]`.
pub const QUERY: i64 = 1;
/// Keys, `[B,H,N,S]`.
pub const KEY: i64 = 2;
/// Values, `[B,H,N,S]`.
pub const VALUE: i64 = 3;
/// The mixed values, `[B,M,H,S]`.
pub const RESULT: i64 = 4;
/// The scores' factor, f32 on the host.
pub const SCALE: i64 = 5;
/// Logarithm of the sum of each query's exponentials, `[B,H,M]` f32.
pub const STATS: i64 = 6;
/// Gradient of the result, `[B,M,H,S]`.
pub const GRADIENT: i64 = 7;
/// Sum of the result times its gradient, `[B,H,M]` f32: written and read again.
pub const SUMS: i64 = 8;
/// 1 as f32 on the host.
pub const ONE: i64 = 9;
/// Gradient of the queries as sums in f32, `[B,H,M,S]`, which a plan adds to.
pub const QUERY_SUMS: i64 = 10;
/// Gradient of the queries, `[B,H,M,S]`.
pub const OF_QUERY: i64 = 11;
/// Gradient of the keys, `[B,H,N,S]`.
pub const OF_KEY: i64 = 12;
/// Gradient of the values, `[B,H,N,S]`.
pub const OF_VALUE: i64 = 13;

/// What is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The result, and what its gradient needs of the scores.
    Forward,
    /// The gradients of queries, keys and values.
    Gradient,
}

/// What a plan is chosen for; tensors are bf16 where nothing else is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Problem {
    /// Which of the two.
    pub direction: Direction,
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

/// An operand on the device.
pub fn on_device(id: i64, address: CUdeviceptr) -> NamedAddress {
    NamedAddress {
        id,
        address: address as *mut c_void,
    }
}

/// An operand on the host, which must live while the plan is executed.
pub fn on_host(id: i64, number: &f32) -> NamedAddress {
    NamedAddress {
        id,
        address: from_ref(number).cast_mut().cast(),
    }
}

impl Problem {
    /// The operand that must be zero before a plan is executed, and its bytes.
    pub fn cleared(&self) -> Option<(i64, usize)> {
        match self.direction {
            Direction::Forward => None,
            Direction::Gradient => {
                let elements = self.batch * self.heads * self.queries * self.size;
                Some((QUERY_SUMS, elements * size_of::<f32>()))
            }
        }
    }

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
            direction,
            batch,
            heads,
            queries,
            keys,
            size,
            options,
        } = self;
        let what = match direction {
            Direction::Forward => "attention with statistics",
            Direction::Gradient => "gradient of attention",
        };
        write!(
            f,
            "{what} of {batch}x{heads}x{queries}x{size} to {keys}, {}{}",
            options.precision,
            if options.deterministic {
                ", deterministic"
            } else {
                ""
            }
        )
    }
}

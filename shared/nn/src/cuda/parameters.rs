//! Many parameters, and what belongs to them, as an argument of one launch.

use candle_core::{Error, Result, cuda_backend::cudarc::driver::DeviceRepr};

/// Elements of one block: the kernels' second argument.
pub const BLOCK_LEN: usize = 1 << 14;

/// Parameters of one launch.
const ARRAYS: usize = 64;

/// Addresses of a parameter and of what belongs to it, as the kernels' `ParameterArray`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct ParameterArray {
    /// Is written.
    pub value: u64,
    /// Is written, too; 0 is none.
    pub state: u64,
    /// Is read.
    pub other: u64,
    /// Elements of each.
    pub len: i64,
}

/// Parameters of one launch, as the kernels' `ParameterArrays`.
#[derive(Debug)]
#[repr(C)]
pub struct ParameterArrays {
    arrays: [ParameterArray; ARRAYS],
    /// The grid's index of each array's first block.
    first_block: [i32; ARRAYS],
    len: i32,
}

// SAFETY: plain numbers in the layout of the kernels' struct.
unsafe impl DeviceRepr for ParameterArrays {}

/// Parameters of one launch, and the number of its blocks.
#[derive(Debug)]
pub struct ParameterLaunch {
    /// The kernels' first argument.
    pub arrays: ParameterArrays,
    /// Blocks of the grid.
    pub blocks: usize,
}

impl ParameterLaunch {
    /// As many launches as all parameters need.
    pub fn all(parameters: &[ParameterArray]) -> Result<Vec<Self>> {
        parameters.chunks(ARRAYS).map(Self::new).collect()
    }

    fn new(parameters: &[ParameterArray]) -> Result<Self> {
        let mut arrays = ParameterArrays {
            arrays: [ParameterArray::default(); ARRAYS],
            first_block: [0; ARRAYS],
            len: parameters.len() as i32,
        };
        let mut blocks = 0;
        for (i, parameter) in parameters.iter().enumerate() {
            arrays.arrays[i] = *parameter;
            arrays.first_block[i] = i32::try_from(blocks).map_err(Error::wrap)?;
            blocks += usize::try_from(parameter.len)
                .map_err(Error::wrap)?
                .div_ceil(BLOCK_LEN);
        }
        Ok(Self { arrays, blocks })
    }
}

//! Lists of arrays as an argument of one launch.

use candle_core::{Error, Result, cuda_backend::cudarc::driver::DeviceRepr};

/// Elements of one block: the kernels' second argument.
pub const BLOCK_LEN: usize = 1 << 14;

/// Arrays of one launch.
const ARRAYS: usize = 64;

/// Addresses and sizes of what a kernel does as one of a list.
pub trait LaunchArray: Copy + Default + DeviceRepr {
    /// Elements that the grid's blocks share.
    fn elements(&self) -> usize;
}

/// A parameter and what belongs to it, as the kernels' `ParameterArray`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct ParameterArray {
    /// Address of the f32 values that the kernel writes.
    pub value: u64,
    /// Address of f32 state that the kernel also writes; 0 for none.
    pub state: u64,
    /// Address of f32 values that the kernel reads.
    pub other: u64,
    /// Elements of each.
    pub len: i64,
}

/// A filter `[O,I,k,k]` and where it is packed, as the kernels' `FilterArray`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct FilterArray {
    /// Address of the f32 filter.
    pub filter: u64,
    /// Address of the packed filter, which the kernel writes.
    pub packed: u64,
    /// Output channels.
    pub out: i32,
    /// Input channels.
    pub inputs: i32,
    /// `k * k`.
    pub area: i32,
    /// Input channels with padding.
    pub padded_inputs: i32,
    /// Elements of what is packed.
    pub len: i64,
}

// SAFETY: plain numbers in the layout of the kernels' struct.
unsafe impl DeviceRepr for ParameterArray {}
// SAFETY: as above.
unsafe impl DeviceRepr for FilterArray {}

impl LaunchArray for ParameterArray {
    fn elements(&self) -> usize {
        self.len as usize
    }
}

impl LaunchArray for FilterArray {
    fn elements(&self) -> usize {
        self.len as usize
    }
}

/// Arrays of one launch, as the kernels' `ArrayList`.
#[derive(Debug)]
#[repr(C)]
pub struct ArrayList<A> {
    arrays: [A; ARRAYS],
    /// The grid's index of each array's first block.
    first_block: [i32; ARRAYS],
    len: i32,
}

// SAFETY: plain numbers in the layout of the kernels' struct.
unsafe impl<A: DeviceRepr> DeviceRepr for ArrayList<A> {}

/// Arrays of one launch, and the number of its blocks.
#[derive(Debug)]
pub struct ArrayLaunch<A> {
    /// The kernels' first argument.
    pub arrays: ArrayList<A>,
    /// Blocks of the grid.
    pub blocks: usize,
}

impl<A: LaunchArray> ArrayLaunch<A> {
    /// As many launches as all arrays need.
    pub fn all(arrays: &[A]) -> Result<Vec<Self>> {
        arrays.chunks(ARRAYS).map(Self::new).collect()
    }

    fn new(arrays: &[A]) -> Result<Self> {
        let mut list = ArrayList {
            arrays: [A::default(); ARRAYS],
            first_block: [0; ARRAYS],
            len: arrays.len() as i32,
        };
        let mut blocks = 0;
        for (i, array) in arrays.iter().enumerate() {
            list.arrays[i] = *array;
            list.first_block[i] = i32::try_from(blocks).map_err(Error::wrap)?;
            blocks += array.elements().div_ceil(BLOCK_LEN);
        }
        Ok(Self {
            arrays: list,
            blocks,
        })
    }
}

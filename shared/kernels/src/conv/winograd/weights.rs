//! Winograd weight transform (`G g G^T`) and packing in panels of 16 output channels.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::{
    TransformedTile,
    transform::{self, POINTS, TILE_IN, TileSource, WeightTransform},
};
use crate::{
    scratch::{DisjointSlice, uninit_vec},
    simd::{F32x16, Kernel, LANES, dispatch},
};

/// Panels whose products a task computes before it transforms them to outputs.
pub const PANELS_PER_GROUP: usize = 4;

/// Floats from which on weights do not stay in a core's cache next to everything else.
const LARGE_WEIGHTS: usize = 1 << 20;

/// Transformed weights in the order in which they are read: for each group of panels
/// `[point][panel][inputs][16]`, zeros beyond the last output channel. Large weights are one group.
#[derive(Clone, Debug)]
pub struct WinogradWeights {
    /// Input channels.
    pub inputs: usize,
    /// Output channels.
    pub outputs: usize,
    /// Panels of a group.
    group: usize,
    values: Vec<f32>,
}

impl WinogradWeights {
    /// Of the forward pass.
    pub fn for_forward(c_out: usize, c_in: usize, weight: &[f32]) -> Self {
        Self::new(c_in, c_out, |output, input, tap| {
            weight[(output * c_in + input) * 9 + tap]
        })
    }

    /// Of the input gradient: rotated by 180 degrees, input and output channels exchanged.
    pub fn for_input_gradient(c_out: usize, c_in: usize, weight: &[f32]) -> Self {
        Self::new(c_out, c_in, |output, input, tap| {
            weight[(input * c_in + output) * 9 + 8 - tap]
        })
    }

    fn new(
        inputs: usize,
        outputs: usize,
        weight: impl Fn(usize, usize, usize) -> f32 + Sync,
    ) -> Self {
        let panel_len = inputs * LANES;
        let panels = outputs.div_ceil(LANES);
        let len = panels * POINTS * panel_len;
        let group = if len < LARGE_WEIGHTS {
            PANELS_PER_GROUP.min(panels)
        } else {
            panels
        };
        let write = |values: &mut [MaybeUninit<f32>]| {
            let values = DisjointSlice::from_uninit(values);
            (0..panels).into_par_iter().for_each(|panel| {
                let (first, within) = (panel / group * group, panel % group);
                let step = group.min(panels - first) * panel_len;
                let taps = |input: usize| {
                    let mut taps = [[0.0; LANES]; 9];
                    let outputs = panel * LANES..outputs.min((panel + 1) * LANES);
                    for (lane, output) in outputs.enumerate() {
                        for (tap, lanes) in taps.iter_mut().enumerate() {
                            lanes[lane] = weight(output, input, tap);
                        }
                    }
                    taps
                };
                // SAFETY: each panel has room of its own at each point, which only this task
                // writes.
                let start =
                    unsafe { values.ptr_at(first * POINTS * panel_len + within * panel_len) };
                let to = TransformedTile { start, step };
                dispatch(Pack { inputs, taps, to });
            });
        };
        Self {
            inputs,
            outputs,
            group,
            // SAFETY: all panels are written.
            values: unsafe { uninit_vec(len, write) },
        }
    }

    /// Whether they exceed a core's cache, see [`LARGE_WEIGHTS`].
    pub fn is_large(&self) -> bool {
        self.values.len() >= LARGE_WEIGHTS
    }

    /// Panels `[inputs][16]` of each group, point after point.
    #[inline(always)]
    pub fn groups(&self) -> impl Iterator<Item = std::slice::ChunksExact<'_, f32>> {
        let len = self.inputs * LANES;
        let groups = self.values.chunks(self.group * POINTS * len);
        groups.map(move |group| group.chunks_exact(len))
    }

    /// Panels of each point; of large weights only.
    pub fn points(&self) -> std::slice::ChunksExact<'_, f32> {
        assert!(self.is_large());
        self.values.chunks_exact(self.group * self.inputs * LANES)
    }
}

/// Transforms one panel; `taps(input)` gathers nine taps of 16 output channels.
struct Pack<F> {
    inputs: usize,
    taps: F,
    to: TransformedTile,
}

impl<F: Fn(usize) -> [[f32; LANES]; 9]> Kernel for Pack<F> {
    type Output = ();

    #[inline(always)]
    fn run<V: F32x16>(self) {
        for input in 0..self.inputs {
            let to = TransformedTile {
                start: self.to.start.wrapping_add(input * LANES),
                ..self.to
            };
            // SAFETY: taps are nine arrays of 16 floats; `new` passes room for all inputs.
            unsafe {
                transform::transform_2d::<WeightTransform, V, 3, TILE_IN>(
                    TapSource(&(self.taps)(input)),
                    to,
                );
            }
        }
    }
}

/// 3 x 3 taps of 16 output channels.
struct TapSource<'a>(&'a [[f32; LANES]; 9]);

impl TileSource for TapSource<'_> {
    #[inline(always)]
    unsafe fn load<V: F32x16>(&self, y: usize, x: usize) -> V {
        // SAFETY: there are 16 floats.
        unsafe { V::load(self.0[3 * y + x].as_ptr()) }
    }
}

//! Filters at the points: weights `[c_out, c_in, 3, 3]` come in, what the products read goes out.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::{
    Points,
    transform::{self, Filter, POINTS, SIDE, Source},
};
use crate::{
    scratch::{Shared, written},
    simd::{Kernel, LANES, Lanes, dispatch},
};

/// Panels of sixteen outputs that are computed before they leave the points.
pub const GROUP: usize = 4;

/// From so many numbers on, filters do not stay in a cache beside all else.
const MANY: usize = 1 << 20;

/// Filters in the order in which the products read them: for each group of panels
/// `[point][panel][inputs][16]`, zeros beyond the last output. If they are many, all panels are one
/// group.
#[derive(Clone, Debug)]
pub struct Filters {
    /// Channels that come in.
    pub inputs: usize,
    /// Channels that go out.
    pub outputs: usize,
    /// Panels of a group.
    group: usize,
    values: Vec<f32>,
}

impl Filters {
    /// Those of a convolution.
    pub fn forward(c_out: usize, c_in: usize, weight: &[f32]) -> Self {
        Self::new(c_in, c_out, |output, input, tap| {
            weight[(output * c_in + input) * 9 + tap]
        })
    }

    /// Those of its input's gradient: turned by 180 degrees, channels exchanged.
    pub fn backward(c_out: usize, c_in: usize, weight: &[f32]) -> Self {
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
        let group = if len < MANY {
            GROUP.min(panels)
        } else {
            panels
        };
        let write = |values: &mut [MaybeUninit<f32>]| {
            let values = Shared::unwritten(values);
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
                // SAFETY: every panel has places of its own at each point, as many as it writes.
                let start = unsafe { values.at(first * POINTS * panel_len + within * panel_len) };
                let to = Points { start, step };
                dispatch(Pack { inputs, taps, to });
            });
        };
        Self {
            inputs,
            outputs,
            group,
            // SAFETY: all panels are written.
            values: unsafe { written(len, write) },
        }
    }

    /// Whether they are better read but once for as many tiles as possible.
    pub fn are_many(&self) -> bool {
        self.values.len() >= MANY
    }

    /// Of each group the panels, from point to point one after the other: `[inputs][16]`, what a
    /// point's products with sixteen outputs read.
    #[inline(always)]
    pub fn groups(&self) -> impl Iterator<Item = std::slice::ChunksExact<'_, f32>> {
        let len = self.inputs * LANES;
        let groups = self.values.chunks(self.group * POINTS * len);
        groups.map(move |group| group.chunks_exact(len))
    }

    /// If they are many, of each point the panels.
    pub fn points(&self) -> std::slice::ChunksExact<'_, f32> {
        assert!(self.are_many());
        self.values.chunks_exact(self.group * self.inputs * LANES)
    }
}

/// Transforms one panel; `taps` gathers an input's nine taps of sixteen outputs.
struct Pack<F> {
    inputs: usize,
    taps: F,
    to: Points,
}

impl<F: Fn(usize) -> [[f32; LANES]; 9]> Kernel for Pack<F> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        for input in 0..self.inputs {
            let to = Points {
                start: self.to.start.wrapping_add(input * LANES),
                ..self.to
            };
            // SAFETY: taps are nine arrays of 16 floats; there is room for all inputs, as `new`
            // sees to.
            unsafe {
                transform::both_ways::<Filter, L, 3, SIDE>(Taps(&(self.taps)(input)), to);
            }
        }
    }
}

/// Nine taps, each of sixteen outputs.
struct Taps<'a>(&'a [[f32; LANES]; 9]);

impl Source for Taps<'_> {
    #[inline(always)]
    unsafe fn load<L: Lanes>(&self, y: usize, x: usize) -> L {
        // SAFETY: there are 16 floats.
        unsafe { L::load(self.0[3 * y + x].as_ptr()) }
    }
}

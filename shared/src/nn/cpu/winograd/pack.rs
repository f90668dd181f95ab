//! Filters at the points: weights `[c_out, c_in, 3, 3]` come in, what the products read goes out.

use rayon::prelude::*;

use super::{
    super::lanes::{Kernel, LANES, Lanes, dispatch},
    Points,
    transform::{self, Filter, POINTS, SIDE, Source},
};

/// Panels of sixteen outputs that are computed before they leave the points.
pub const GROUP: usize = 4;

/// Filters in the order in which the products read them: for each group of panels
/// `[point][panel][inputs][16]`, zeros beyond the last output.
#[derive(Clone, Debug)]
pub struct Filters {
    /// Channels that come in.
    pub inputs: usize,
    /// Channels that go out.
    pub outputs: usize,
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
        let panel_len = POINTS * inputs * LANES;
        let mut values = vec![0.0; outputs.div_ceil(LANES) * panel_len];
        values
            .par_chunks_mut(GROUP * panel_len)
            .enumerate()
            .for_each(|(group, values)| {
                let panels = values.len() / panel_len;
                for panel in 0..panels {
                    let first = (group * GROUP + panel) * LANES;
                    dispatch(Pack {
                        inputs,
                        panel,
                        panels,
                        values,
                        taps: |input: usize| {
                            let mut taps = [[0.0; LANES]; 9];
                            for (lane, output) in (first..outputs.min(first + LANES)).enumerate() {
                                for (tap, lanes) in taps.iter_mut().enumerate() {
                                    lanes[lane] = weight(output, input, tap);
                                }
                            }
                            taps
                        },
                    });
                }
            });
        Self {
            inputs,
            outputs,
            values,
        }
    }

    /// Of each group the panels, from point to point one after the other: `[inputs][16]`, what a
    /// point's products with sixteen outputs read.
    #[inline(always)]
    pub fn groups(&self) -> impl Iterator<Item = std::slice::ChunksExact<'_, f32>> {
        let len = self.inputs * LANES;
        let groups = self.values.chunks(GROUP * POINTS * len);
        groups.map(move |group| group.chunks_exact(len))
    }
}

/// Transforms one panel of a group; `taps` gathers an input's nine taps of sixteen outputs.
struct Pack<'a, F> {
    inputs: usize,
    panel: usize,
    panels: usize,
    values: &'a mut [f32],
    taps: F,
}

impl<F: Fn(usize) -> [[f32; LANES]; 9]> Kernel for Pack<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let step = self.panels * self.inputs * LANES;
        assert!(self.values.len() == POINTS * step && self.panel < self.panels);
        for input in 0..self.inputs {
            let taps = (self.taps)(input);
            let at = (self.panel * self.inputs + input) * LANES;
            // SAFETY: taps are nine arrays of 16 floats; the values were measured above.
            unsafe {
                let start = self.values.as_mut_ptr().add(at);
                transform::both_ways::<Filter, L, 3, SIDE>(Taps(&taps), Points { start, step });
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

//! Filters at the points: weights `[c_out, c_in, 3, 3]` come in, what the products read goes out.

use rayon::prelude::*;

use super::{
    super::lanes::{Kernel, LANES, Lanes, dispatch},
    store_points,
    transform::{self, Filter, POINTS, SIDE},
};

/// Filters as the products read them: `[outputs / 16][point][inputs][16]`, zeros beyond the last
/// output.
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
        let mut values = vec![0.0; outputs.div_ceil(LANES) * POINTS * inputs * LANES];
        values
            .par_chunks_exact_mut(POINTS * inputs * LANES)
            .enumerate()
            .for_each(|(panel, values)| {
                let first = panel * LANES;
                dispatch(Pack {
                    inputs,
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
            });
        Self {
            inputs,
            outputs,
            values,
        }
    }

    /// `[inputs][16]`: what a point's products with sixteen outputs read.
    #[inline(always)]
    pub fn panel(&self, panel: usize, point: usize) -> &[f32] {
        let len = self.inputs * LANES;
        &self.values[(panel * POINTS + point) * len..][..len]
    }
}

/// Transforms one panel; `taps` gathers an input's nine taps of sixteen outputs.
struct Pack<'a, F> {
    inputs: usize,
    values: &'a mut [f32],
    taps: F,
}

impl<F: Fn(usize) -> [[f32; LANES]; 9]> Kernel for Pack<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        assert_eq!(self.values.len(), POINTS * self.inputs * LANES);
        for input in 0..self.inputs {
            let taps = (self.taps)(input);
            // SAFETY: taps are arrays of 16 floats; the values were measured above.
            unsafe {
                let mut lanes = [[L::splat(0.0); 3]; 3];
                for y in 0..3 {
                    for x in 0..3 {
                        lanes[y][x] = L::load(taps[3 * y + x].as_ptr());
                    }
                }
                let points = transform::both_ways::<Filter, L, 3, SIDE>(lanes);
                let to = self.values.as_mut_ptr().add(input * LANES);
                store_points(points, to, self.inputs * LANES);
            }
        }
    }
}

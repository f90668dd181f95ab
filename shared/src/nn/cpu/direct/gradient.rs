//! The weights' gradient: pictures and the outputs' gradients come in, `[K,C,kernel,kernel]` goes
//! out. It is added up over groups of pictures, in order, so that its bits do not depend on the
//! threads.

use rayon::prelude::*;

use super::{
    super::{
        geometry::Geometry,
        lanes::{Kernel, LANES, Lanes, dispatch},
        memory::Shared,
        product::{add_outer_products, by_rows},
    },
    Windows,
};

/// Positions that are there at once, at least: enough to make the sums worth loading.
const POSITIONS: usize = 512;
/// Taps of the kernel, each of one channel, that a task adds up.
const TAPS: usize = 16;

/// Gradient of the weight `[c_out, c_in, kernel, kernel]`; `gradient` is that of the output.
pub fn weight_gradient(geometry: &Geometry, input: &[f32], gradient: &[f32]) -> Vec<f32> {
    let (pictures, output) = (geometry.input, geometry.output());
    assert!(input.len() == pictures.len() && gradient.len() == output.len());
    let windows = Windows::new(geometry);
    let positions = output.positions();
    let group = POSITIONS.div_ceil(positions).min(pictures.images);
    let blocks = geometry.c_out.div_ceil(LANES);
    let mut padded = vec![0.0; group * windows.len()];
    let mut slopes = vec![0.0; blocks * group * positions * LANES];
    let starts: Vec<usize> = (0..group)
        .flat_map(|image| windows.starts.iter().map(move |start| (image, start)))
        .map(|(image, start)| image * windows.len() + start)
        .collect();
    let taps = geometry.weight_len() / geometry.c_out;
    let mut sums = vec![0.0; taps * blocks * LANES];

    let inputs = input.chunks(group * pictures.image_len());
    for (input, gradient) in inputs.zip(gradient.chunks(group * output.image_len())) {
        let shared = Shared::new(&mut slopes);
        padded
            .par_chunks_mut(windows.len())
            .zip(input.par_chunks(pictures.image_len()))
            .zip(gradient.par_chunks(output.image_len()))
            .enumerate()
            .for_each(|(image, ((padded, picture), gradient))| {
                windows.pad(geometry, picture, padded);
                for (position, values) in gradient.chunks_exact(geometry.c_out).enumerate() {
                    for (block, values) in values.chunks(LANES).enumerate() {
                        let row = (block * group + image) * positions + position;
                        // SAFETY: the row is this picture's, and has room for a block.
                        unsafe {
                            let to = shared.at(row * LANES);
                            std::ptr::copy_nonoverlapping(values.as_ptr(), to, values.len());
                        }
                    }
                }
            });
        let starts = &starts[..gradient.len() / geometry.c_out];
        sums.par_chunks_mut(TAPS * blocks * LANES)
            .enumerate()
            .for_each(|(task, sums)| {
                dispatch(AddProducts {
                    windows: &windows,
                    first_tap: task * TAPS,
                    padded: &padded,
                    starts,
                    slopes: &slopes,
                    sums,
                });
            });
    }

    let (area, c_in) = (geometry.kernel.pow(2), pictures.channels);
    let mut weight = vec![0.0; geometry.weight_len()];
    for (at, value) in weight.iter_mut().enumerate() {
        let (tap, channel, output) = (at % area, at / area % c_in, at / area / c_in);
        *value = sums[(tap * c_in + channel) * blocks * LANES + output];
    }
    weight
}

/// Adds a group's products to the sums `[taps][c_out, rounded up]` of some taps.
struct AddProducts<'a> {
    windows: &'a Windows,
    first_tap: usize,
    padded: &'a [f32],
    starts: &'a [usize],
    /// `[c_out / 16][positions][16]`
    slopes: &'a [f32],
    sums: &'a mut [f32],
}

impl Kernel for AddProducts<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Windows { row, run, .. } = *self.windows;
        let images = self.padded.len() / self.windows.len();
        let positions = images * self.windows.starts.len();
        let blocks = self.slopes.len() / (positions * LANES);
        assert!(self.starts.len() <= positions);
        let taps = self.sums.len() / (blocks * LANES);
        for block in 0..blocks {
            let slopes = &self.slopes[block * positions * LANES..];
            by_rows!(L, taps, |tap, R| {
                let rows = std::array::from_fn::<usize, R, _>(|i| {
                    let tap = self.first_tap + tap + i;
                    tap / run * row + tap % run
                });
                // SAFETY: every tap of every window lies in the padded pictures; each position
                // has 16 slopes; there are R more rows of sums.
                unsafe {
                    let start = (tap * blocks + block) * LANES;
                    let place = self.sums.as_mut_ptr().add(start);
                    let step = blocks * LANES;
                    add_outer_products::<L, R>(
                        self.padded.as_ptr(),
                        self.starts.iter().copied(),
                        rows,
                        slopes.as_ptr(),
                        (place, step),
                    );
                }
            });
        }
    }
}

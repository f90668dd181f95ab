//! The transpose, which is the gradient of the input and the transposed convolution: outputs and
//! packed weights come in, what every output adds to its window goes out, a picture at a time.

use rayon::prelude::*;

use super::{
    super::{
        geometry::Geometry,
        lanes::{Kernel, LANES, Lanes, dispatch},
        memory::written,
        product::{Segments, by_rows, rows_times_panel},
    },
    Windows,
};

/// Weights as the products read them: `[ky][kx * c_in / 16][c_out][16]`.
#[derive(Clone, Debug)]
pub struct TransposedPanels(Vec<f32>);

impl TransposedPanels {
    /// Packs `weight` `[c_out, c_in, kernel, kernel]`.
    pub fn new(geometry: &Geometry, weight: &[f32]) -> Self {
        let (kernel, c_in, c_out) = (geometry.kernel, geometry.input.channels, geometry.c_out);
        let columns = (kernel * c_in).next_multiple_of(LANES);
        let mut values = vec![0.0; kernel * columns * c_out];
        for (at, value) in weight.iter().enumerate() {
            let (x, y) = (at % kernel, at / kernel % kernel);
            let (input, output) = (at / kernel.pow(2) % c_in, at / kernel.pow(2) / c_in);
            let column = x * c_in + input;
            let panel = (y * columns + column / LANES * LANES) * c_out;
            values[panel + output * LANES + column % LANES] = *value;
        }
        Self(values)
    }
}

/// What the outputs' values `gradient` add up to in the input, plus `shift` for each channel.
pub fn scatter(
    geometry: &Geometry,
    gradient: &[f32],
    panels: &TransposedPanels,
    shift: Option<&[f32]>,
) -> Vec<f32> {
    let (input, output) = (geometry.input, geometry.output());
    assert!(gradient.len() == output.len());
    let windows = Windows::new(geometry);
    let is_seen_whole = {
        let mut seen = 0;
        windows.runs(geometry, |_, _, len| seen += len);
        seen == input.image_len()
    };
    let none = vec![0.0; input.channels];
    let start = shift.unwrap_or(&none);
    // SAFETY: the tasks cover the result, and every task writes all of its own.
    unsafe {
        written(input.len(), |out| {
            out.par_chunks_mut(input.image_len())
                .zip(gradient.par_chunks(output.image_len()))
                .for_each_init(
                    || vec![0.0; windows.len()],
                    |padded, (out, gradient)| {
                        let positions = padded.chunks_exact_mut(start.len());
                        positions.for_each(|position| position.copy_from_slice(start));
                        dispatch(Task {
                            windows: &windows,
                            gradient,
                            panels: &panels.0,
                            channels: geometry.c_out,
                            padded,
                        });
                        if !is_seen_whole {
                            out.chunks_exact_mut(start.len()).for_each(|position| {
                                position.write_copy_of_slice(start);
                            });
                        }
                        windows.runs(geometry, |to, from, len| {
                            out[to..][..len].write_copy_of_slice(&padded[from..][..len]);
                        });
                    },
                );
        })
    }
}

struct Task<'a> {
    windows: &'a Windows,
    gradient: &'a [f32],
    panels: &'a [f32],
    channels: usize,
    padded: &'a mut [f32],
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Windows { row, run, .. } = *self.windows;
        let starts = &self.windows.starts;
        let segments = Segments {
            depth: self.channels,
            length: self.channels,
            step: 0,
        };
        assert!(self.gradient.len() == starts.len() * self.channels);
        assert!(self.padded.len() == self.windows.len());
        let across = run.div_ceil(LANES);
        for (block, panel) in self.panels.chunks_exact(self.channels * LANES).enumerate() {
            let (y, column) = (block / across, block % across * LANES);
            let count = (run - column).min(LANES);
            by_rows!(L, starts.len(), |position, R| {
                // SAFETY: there are R more rows of the gradient, and every window lies in the
                // padded picture.
                unsafe {
                    let rows = std::array::from_fn::<usize, R, _>(|i| i * self.channels);
                    let left = self.gradient.as_ptr().add(position * self.channels);
                    let sums: [L; R] = rows_times_panel(left, rows, segments, panel.as_ptr());
                    for i in 0..R {
                        let at = starts[position + i] + y * row + column;
                        let place = self.padded.as_mut_ptr().add(at);
                        (L::load_first(place, count) + sums[i]).store_first(place, count);
                    }
                }
            });
        }
    }
}

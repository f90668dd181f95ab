//! Forward: pictures and packed weights come in, outputs go out, a picture at a time.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::{
    super::{
        epilogue::Epilogue,
        geometry::Geometry,
        lanes::{Kernel, LANES, Lanes, dispatch},
        memory::written,
        product::{Segments, by_rows, rows_times_panel},
    },
    Windows,
};

/// Weights as the products read them: `[c_out / 16][ky][kx][c_in][16]`.
#[derive(Clone, Debug)]
pub struct Panels(Vec<f32>);

impl Panels {
    /// Packs `weight` `[c_out, c_in, kernel, kernel]`.
    pub fn new(geometry: &Geometry, weight: &[f32]) -> Self {
        let (area, c_in) = (geometry.kernel.pow(2), geometry.input.channels);
        let depth = area * c_in;
        let mut values = vec![0.0; geometry.c_out.next_multiple_of(LANES) * depth];
        for (output, weight) in weight.chunks_exact(depth).enumerate() {
            let panel = &mut values[output / LANES * depth * LANES..][..depth * LANES];
            for (channel, taps) in weight.chunks_exact(area).enumerate() {
                for (tap, value) in taps.iter().enumerate() {
                    panel[(tap * c_in + channel) * LANES + output % LANES] = *value;
                }
            }
        }
        Self(values)
    }
}

/// The convolution of `input` with `panels`, and what `epilogue` does to it.
pub fn correlate(
    geometry: &Geometry,
    input: &[f32],
    panels: &Panels,
    epilogue: Epilogue,
) -> Vec<f32> {
    assert!(input.len() == geometry.input.len());
    let windows = Windows::new(geometry);
    let output = geometry.output();
    let chunk = output.image_len();
    // SAFETY: the tasks cover the output, and every task writes all of its own.
    unsafe {
        written(output.len(), |out| {
            out.par_chunks_mut(chunk)
                .zip(input.par_chunks(geometry.input.image_len()))
                .enumerate()
                .for_each_init(
                    || vec![0.0; windows.len()],
                    |padded, (image, (out, picture))| {
                        windows.pad(geometry, picture, padded);
                        dispatch(Task {
                            windows: &windows,
                            padded,
                            panels: &panels.0,
                            epilogue: epilogue.from(image * chunk),
                            channels: geometry.c_out,
                            out,
                        });
                    },
                );
        })
    }
}

struct Task<'a> {
    windows: &'a Windows,
    padded: &'a [f32],
    panels: &'a [f32],
    epilogue: Epilogue<'a>,
    channels: usize,
    out: &'a mut [MaybeUninit<f32>],
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Windows { row, run, .. } = *self.windows;
        let starts = &self.windows.starts;
        let segments = Segments {
            depth: self.panels.len() / self.channels.next_multiple_of(LANES),
            length: run,
            step: row,
        };
        assert!(self.padded.len() == self.windows.len());
        assert!(self.out.len() == starts.len() * self.channels);
        for (block, panel) in self.panels.chunks_exact(segments.depth * LANES).enumerate() {
            let channel = block * LANES;
            let count = (self.channels - channel).min(LANES);
            by_rows!(L, starts.len(), |position, R| {
                let rows = std::array::from_fn::<usize, R, _>(|i| starts[position + i]);
                // SAFETY: every window lies in the padded picture, every output in `out`.
                unsafe {
                    let left = self.padded.as_ptr();
                    let sums: [L; R] = rows_times_panel(left, rows, segments, panel.as_ptr());
                    for row in 0..R {
                        let at = (position + row) * self.channels + channel;
                        let value = self.epilogue.apply(sums[row], at, channel, count);
                        value.store_first(self.out.as_mut_ptr().add(at).cast(), count);
                    }
                }
            });
        }
    }
}

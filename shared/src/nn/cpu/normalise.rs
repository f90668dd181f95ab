//! Batch normalisation with residual and ReLU on the CPU: contiguous `[positions, channels]`
//! slices and a few numbers per channel come in, new vectors go out. Sums run over a fixed number
//! of positions in f32, over those in f64 and in order, so that no thread shows in them.

use rayon::prelude::*;

use super::{
    lanes::{Kernel, LANES, Lanes, dispatch},
    memory::written,
};

/// What normalisation does to a channel: `(x - mean) * inverse * gamma + beta`.
#[derive(Clone, Debug)]
pub struct Channels {
    /// What is taken away.
    pub mean: Vec<f32>,
    /// 1 / sqrt(variance + eps).
    pub inverse: Vec<f32>,
    /// Factor.
    pub gamma: Vec<f32>,
    /// Shift.
    pub beta: Vec<f32>,
}

/// What a channel's gradients add up to.
#[derive(Clone, Debug)]
pub struct Sums {
    /// Of the gradient times the normalised input: gamma's gradient.
    pub gamma: Vec<f32>,
    /// Of the gradient: beta's gradient.
    pub beta: Vec<f32>,
}

/// Floats that a task works on at a time; they stay in the nearest cache.
const CHUNK: usize = 4096;

/// How `[positions, channels]` is worked on: channels of which a whole number makes sixteen lanes
/// are seen as sixteen channels.
#[derive(Clone, Copy, Debug)]
struct View {
    channels: usize,
    /// Every channel of the view's, after so many others, is the same again.
    period: usize,
}

impl View {
    fn new(channels: usize, len: usize) -> Self {
        assert!(channels > 0 && len.is_multiple_of(channels));
        let folds = LANES.is_multiple_of(channels) && len.is_multiple_of(LANES);
        Self {
            channels: if folds { LANES } else { channels },
            period: channels,
        }
    }

    /// Floats of a chunk.
    fn chunk(&self) -> usize {
        (CHUNK / self.channels).max(16) * self.channels
    }

    /// One number for each channel of the view.
    fn spread(&self, values: &[f32]) -> Vec<f32> {
        assert_eq!(values.len(), self.period);
        values.iter().copied().cycle().take(self.channels).collect()
    }
}

/// Mean and (biased) variance per channel of `[positions, channels]`.
pub fn moments(channels: usize, x: &[f32]) -> Vec<(f64, f64)> {
    let view = View::new(channels, x.len());
    // Each chunk has its own mean, so that nothing cancels however far it is from zero.
    let chunks: Vec<(f64, Vec<f32>)> = x
        .par_chunks(view.chunk())
        .map(|x| {
            let mut moments = vec![0.0; 2 * view.channels];
            dispatch(ChunkMoments {
                x,
                moments: &mut moments,
            });
            ((x.len() / view.channels) as f64, moments)
        })
        .collect();
    let copies = || (0..view.channels).step_by(view.period);
    let count = (x.len() / channels) as f64;
    (0..channels)
        .map(|channel| {
            let parts = chunks.iter().flat_map(|(count, moments)| {
                copies().map(move |copy| {
                    let mean = f64::from(moments[copy + channel]);
                    let square = f64::from(moments[view.channels + copy + channel]);
                    (*count, mean, square)
                })
            });
            let mean = parts.clone().map(|(n, mean, _)| n * mean).sum::<f64>() / count;
            let spread = |(n, own, square): (f64, f64, f64)| square + n * (own - mean).powi(2);
            (mean, parts.map(spread).sum::<f64>() / count)
        })
        .collect()
}

/// A sum's plain terms.
struct Itself;

impl<L: Lanes> OfRow<L, 1, 1> for Itself {
    #[inline(always)]
    fn of(&self, row: [L; 1]) -> [L; 1] {
        row
    }
}

/// Squared distances to the mean.
struct SquaredDistance<L> {
    mean: L,
}

impl<L: Lanes> OfRow<L, 1, 1> for SquaredDistance<L> {
    #[inline(always)]
    fn of(&self, [x]: [L; 1]) -> [L; 1] {
        let distance = x - self.mean;
        [distance * distance]
    }
}

/// Mean and sum of squared distances to it, of a chunk's channels.
struct ChunkMoments<'a> {
    x: &'a [f32],
    moments: &'a mut [f32],
}

impl Kernel for ChunkMoments<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let channels = self.moments.len() / 2;
        let (means, squares) = self.moments.split_at_mut(channels);
        let scale = L::splat(channels as f32 / self.x.len() as f32);
        for (first, count) in blocks(channels) {
            let [sum]: [L; 1] = sum_rows(channels, first, count, [self.x], Itself);
            let mean = sum * scale;
            let [square] = sum_rows(channels, first, count, [self.x], SquaredDistance { mean });
            // SAFETY: the slices have `count` floats.
            unsafe {
                mean.store_first(means[first..][..count].as_mut_ptr(), count);
                square.store_first(squares[first..][..count].as_mut_ptr(), count);
            }
        }
    }
}

/// The blocks of up to sixteen channels: (first, how many).
#[inline(always)]
fn blocks(channels: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..channels)
        .step_by(LANES)
        .map(move |first| (first, (channels - first).min(LANES)))
}

/// Sums of `terms` over all rows, of a block of channels of `[rows, channels]` slices.
#[inline(always)]
fn sum_rows<L: Lanes, const N: usize, const M: usize>(
    channels: usize,
    first: usize,
    count: usize,
    slices: [&[f32]; N],
    terms: impl OfRow<L, N, M>,
) -> [L; M] {
    /// Sums that go on side by side, so that none waits for the one before it.
    const AT_ONCE: usize = 4;
    let mut sums = [[L::splat(0.0); M]; AT_ONCE];
    let len = slices[0].len();
    assert!(slices.iter().all(|slice| slice.len() == len));
    let rows = len / channels;
    let whole = rows - rows % AT_ONCE;
    // SAFETY: the block lies in every row, and all rows in every slice.
    unsafe {
        for row in (0..whole).step_by(AT_ONCE) {
            for i in 0..AT_ONCE {
                let at = (row + i) * channels + first;
                let values = terms.of(load_row(slices, at, count));
                for m in 0..M {
                    sums[i][m] = sums[i][m] + values[m];
                }
            }
        }
        for row in whole..rows {
            let values = terms.of(load_row(slices, row * channels + first, count));
            for m in 0..M {
                sums[0][m] = sums[0][m] + values[m];
            }
        }
    }
    let mut total = sums[0];
    for m in 0..M {
        total[m] = (sums[0][m] + sums[1][m]) + (sums[2][m] + sums[3][m]);
    }
    total
}

/// What is computed of a block of a row's channels in several slices.
trait OfRow<L: Lanes, const N: usize, const M: usize> {
    fn of(&self, row: [L; N]) -> [L; M];
}

/// `count` numbers of each slice, from number `at` on.
///
/// # Safety
/// They can be read.
#[inline(always)]
unsafe fn load_row<L: Lanes, const N: usize>(
    slices: [&[f32]; N],
    at: usize,
    count: usize,
) -> [L; N] {
    let mut values = [L::splat(0.0); N];
    for n in 0..N {
        // SAFETY: as the caller promises.
        values[n] = unsafe { L::load_first(slices[n].as_ptr().add(at), count) };
    }
    values
}

/// Writes `f` of every row's block of channels.
///
/// # Safety
/// There is room for as much in every output as there is in every slice.
#[inline(always)]
unsafe fn map_rows<L: Lanes, const N: usize, const M: usize>(
    channels: usize,
    (first, count): (usize, usize),
    slices: [&[f32]; N],
    outputs: [*mut f32; M],
    f: impl OfRow<L, N, M>,
) {
    let len = slices[0].len();
    assert!(slices.iter().all(|slice| slice.len() == len));
    for at in (first..len).step_by(channels) {
        // SAFETY: the block lies in the row, and the row in every slice.
        unsafe {
            let values = f.of(load_row(slices, at, count));
            for m in 0..M {
                values[m].store_first(outputs[m].add(at), count);
            }
        }
    }
}

/// `relu(normalise(x) + residual)`; residual and ReLU are optional.
pub fn forward(norm: &Channels, x: &[f32], residual: Option<&[f32]>, relu: bool) -> Vec<f32> {
    let view = View::new(norm.mean.len(), x.len());
    let scale: Vec<f32> = std::iter::zip(&norm.inverse, &norm.gamma)
        .map(|(inverse, gamma)| inverse * gamma)
        .collect();
    let [mean, scale, shift] = [&norm.mean, &scale, &norm.beta].map(|v| view.spread(v));
    assert!(residual.is_none_or(|residual| residual.len() == x.len()));
    // SAFETY: the chunks cover the result, and every task writes all of its own.
    unsafe {
        written(x.len(), |out| {
            out.par_chunks_mut(view.chunk())
                .zip(x.par_chunks(view.chunk()))
                .enumerate()
                .for_each(|(chunk, (out, x))| {
                    let at = chunk * view.chunk();
                    dispatch(ChunkForward {
                        x,
                        residual: residual.map(|residual| &residual[at..][..x.len()]),
                        relu,
                        channels: [&mean, &scale, &shift],
                        out: out.as_mut_ptr().cast(),
                    });
                });
        })
    }
}

/// A chunk of [`forward`]; `out` has room for it.
struct ChunkForward<'a> {
    x: &'a [f32],
    residual: Option<&'a [f32]>,
    relu: bool,
    channels: [&'a [f32]; 3],
    out: *mut f32,
}

impl Kernel for ChunkForward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let channels = self.channels[0].len();
        for block in blocks(channels) {
            let [mean, scale, shift] = load_block::<L, 3>(self.channels, block);
            let normal = Normal {
                mean,
                scale,
                shift,
                relu: self.relu,
            };
            // SAFETY: there is room for as much as `x` is.
            unsafe {
                match self.residual {
                    None => map_rows(channels, block, [self.x], [self.out], normal),
                    Some(residual) => {
                        map_rows(channels, block, [self.x, residual], [self.out], normal);
                    }
                }
            }
        }
    }
}

/// Normalises, adds the residual if there is one, cuts below zero.
struct Normal<L> {
    mean: L,
    scale: L,
    shift: L,
    relu: bool,
}

impl<L: Lanes> Normal<L> {
    #[inline(always)]
    fn of(&self, x: L) -> L {
        (x - self.mean).times_plus(self.scale, self.shift)
    }

    #[inline(always)]
    fn floor(&self, y: L) -> L {
        if self.relu { y.at_least(0.0) } else { y }
    }
}

impl<L: Lanes> OfRow<L, 1, 1> for Normal<L> {
    #[inline(always)]
    fn of(&self, [x]: [L; 1]) -> [L; 1] {
        [self.floor(self.of(x))]
    }
}

impl<L: Lanes> OfRow<L, 2, 1> for Normal<L> {
    #[inline(always)]
    fn of(&self, [x, residual]: [L; 2]) -> [L; 1] {
        [self.floor(self.of(x) + residual)]
    }
}

/// A block of each of the slices of numbers per channel.
#[inline(always)]
fn load_block<L: Lanes, const N: usize>(
    slices: [&[f32]; N],
    (first, count): (usize, usize),
) -> [L; N] {
    assert!(slices.iter().all(|slice| slice.len() >= first + count));
    // SAFETY: the slices have so many numbers, as asserted.
    unsafe { load_row(slices, first, count) }
}

/// Gradients of gamma and beta from that of the normalised `x`.
pub fn parameter_gradients(norm: &Channels, x: &[f32], gradient: &[f32]) -> Sums {
    assert_eq!(x.len(), gradient.len());
    let channels = norm.mean.len();
    let view = View::new(channels, x.len());
    let mean = view.spread(&norm.mean);
    let chunks: Vec<Vec<f32>> = x
        .par_chunks(view.chunk())
        .zip(gradient.par_chunks(view.chunk()))
        .map(|(x, gradient)| {
            let mut sums = vec![0.0; 2 * view.channels];
            dispatch(ChunkSums {
                x,
                gradient,
                mean: &mean,
                sums: &mut sums,
            });
            sums
        })
        .collect();
    // The view's copies of a channel stand `period` apart.
    let total = |first: usize, channel: usize| -> f64 {
        let copies = (first + channel..first + view.channels).step_by(view.period);
        let each = |at: usize| chunks.iter().map(move |sums| f64::from(sums[at]));
        copies.flat_map(each).sum()
    };
    let gamma = |c| (total(0, c) * f64::from(norm.inverse[c])) as f32;
    Sums {
        gamma: (0..channels).map(gamma).collect(),
        beta: (0..channels)
            .map(|c| total(view.channels, c) as f32)
            .collect(),
    }
}

/// Of input and gradient: the gradient times the distance to the mean, and the gradient.
struct Slopes<L> {
    mean: L,
}

impl<L: Lanes> OfRow<L, 2, 2> for Slopes<L> {
    #[inline(always)]
    fn of(&self, [x, gradient]: [L; 2]) -> [L; 2] {
        [(x - self.mean) * gradient, gradient]
    }
}

/// A chunk's sums of the gradient times the distance to the mean, and of the gradient.
struct ChunkSums<'a> {
    x: &'a [f32],
    gradient: &'a [f32],
    mean: &'a [f32],
    sums: &'a mut [f32],
}

impl Kernel for ChunkSums<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let channels = self.mean.len();
        let (products, gradients) = self.sums.split_at_mut(channels);
        for (first, count) in blocks(channels) {
            let [mean] = load_block::<L, 1>([self.mean], (first, count));
            let slices = [self.x, self.gradient];
            let [product, sum] = sum_rows(channels, first, count, slices, Slopes { mean });
            // SAFETY: the slices have `count` floats.
            unsafe {
                product.store_first(products[first..][..count].as_mut_ptr(), count);
                sum.store_first(gradients[first..][..count].as_mut_ptr(), count);
            }
        }
    }
}

/// Gradient of `x`, whose mean and variance are functions of it, from that of the normalised `x`;
/// `sums` are those of [`parameter_gradients`].
pub fn input_gradient(norm: &Channels, x: &[f32], gradient: &[f32], sums: &Sums) -> Vec<f32> {
    assert_eq!(x.len(), gradient.len());
    let channels = norm.mean.len();
    let count = (x.len() / channels) as f32;
    let view = View::new(channels, x.len());
    // (g - beta / n - (x - mean) * inverse * gamma' / n) * inverse * gamma, term by term.
    let scale = |c: usize| norm.inverse[c] * norm.gamma[c];
    let slope = |c: usize| -scale(c) * norm.inverse[c] * sums.gamma[c] / count;
    let shift = |c: usize| -scale(c) * sums.beta[c] / count;
    let spread = |f: &dyn Fn(usize) -> f32| view.spread(&(0..channels).map(f).collect::<Vec<_>>());
    let numbers = [
        spread(&|c| norm.mean[c]),
        spread(&scale),
        spread(&slope),
        spread(&shift),
    ];
    // SAFETY: the chunks cover the result, and every task writes all of its own.
    unsafe {
        written(x.len(), |out| {
            out.par_chunks_mut(view.chunk())
                .zip(x.par_chunks(view.chunk()))
                .zip(gradient.par_chunks(view.chunk()))
                .for_each(|((out, x), gradient)| {
                    dispatch(ChunkGradient {
                        x,
                        gradient,
                        numbers: numbers.each_ref().map(Vec::as_slice),
                        out: out.as_mut_ptr().cast(),
                    });
                });
        })
    }
}

/// Of input and gradient: the input's gradient.
struct Back<L> {
    mean: L,
    scale: L,
    slope: L,
    shift: L,
}

impl<L: Lanes> OfRow<L, 2, 1> for Back<L> {
    #[inline(always)]
    fn of(&self, [x, gradient]: [L; 2]) -> [L; 1] {
        let constant = (x - self.mean).times_plus(self.slope, self.shift);
        [gradient.times_plus(self.scale, constant)]
    }
}

/// A chunk of [`input_gradient`]; `out` has room for it.
struct ChunkGradient<'a> {
    x: &'a [f32],
    gradient: &'a [f32],
    /// Mean, factor of the gradient, factor of the distance to the mean, shift.
    numbers: [&'a [f32]; 4],
    out: *mut f32,
}

impl Kernel for ChunkGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let channels = self.numbers[0].len();
        for block in blocks(channels) {
            let [mean, scale, slope, shift] = load_block::<L, 4>(self.numbers, block);
            let back = Back {
                mean,
                scale,
                slope,
                shift,
            };
            // SAFETY: there is room for as much as `x` is.
            unsafe {
                map_rows(channels, block, [self.x, self.gradient], [self.out], back);
            }
        }
    }
}

/// The gradient behind a ReLU: `gradient` where `y` is positive, else 0.
pub fn through_relu(y: &[f32], gradient: &[f32]) -> Vec<f32> {
    assert_eq!(y.len(), gradient.len());
    // SAFETY: the chunks cover the result, and every task writes all of its own.
    unsafe {
        written(y.len(), |out| {
            out.par_chunks_mut(CHUNK)
                .zip(y.par_chunks(CHUNK).zip(gradient.par_chunks(CHUNK)))
                .for_each(|(out, (y, gradient))| {
                    let out = out.as_mut_ptr().cast();
                    dispatch(ThroughRelu { y, gradient, out });
                });
        })
    }
}

/// A chunk of [`through_relu`]; `out` has room for it.
struct ThroughRelu<'a> {
    y: &'a [f32],
    gradient: &'a [f32],
    out: *mut f32,
}

impl Kernel for ThroughRelu<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        for (at, count) in blocks(self.y.len()) {
            let [y, gradient] = load_block::<L, 2>([self.y, self.gradient], (at, count));
            // SAFETY: there is room for as much as `y` is.
            unsafe {
                gradient
                    .where_positive(y)
                    .store_first(self.out.add(at), count)
            };
        }
    }
}

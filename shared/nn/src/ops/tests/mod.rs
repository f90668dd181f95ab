//! Every operation against candle's own operations and autograd, on random shapes.

mod conv;
mod primitives;
mod reference;
mod residual;

use candle_core::{DType, Device, Result, Tensor, Var};

use super::batch_norm::EPS;
use crate::*;
use base::random::Stream;

/// Numbers between -1 and 1, by key.
pub fn random(shape: &[usize], key: u64) -> Tensor {
    let mut stream = Stream::new(key, "nn", &[]);
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|_| stream.between(-1.0, 1.0) as f32)
        .collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn filter(weight: &Tensor, stride: usize, padding: usize) -> Conv2d {
    Conv2d {
        weight: weight.clone(),
        stride,
        padding,
        options: ComputeOptions::default(),
    }
}

/// Running statistics of 0, which a pass moves to a tenth of the batch's.
fn zeros(channels: usize) -> RunningStatistics {
    let zeros = || Tensor::zeros(channels, DType::F32, &Device::Cpu).unwrap();
    RunningStatistics {
        mean: zeros(),
        variance: zeros(),
    }
}

/// `y` times functions of the statistics of every layer's batch, which are constants: so they are compared, not
/// differentiated.
fn times_statistics(y: Tensor, stack: &[ResidualLayer<ConvBn>]) -> Result<Tensor> {
    let mut layers = stack.iter().flat_map(ResidualLayer::layers);
    layers.try_fold(y, |y, layer| {
        let RunningStatistics { mean, variance } = &layer.running;
        y.broadcast_mul(&(mean * 10.0)?)?
            .broadcast_div(&((variance * 10.0)? + 1.0)?)
    })
}

fn norm(t: &Tensor) -> f32 {
    let square = t.sqr().unwrap().sum_all().unwrap();
    square.to_scalar::<f32>().unwrap().sqrt()
}

/// Value and gradients of `f` under a random cotangent.
fn differentiate(
    f: impl Fn(&[Var]) -> Result<Tensor>,
    arguments: &[Tensor],
) -> (Tensor, Vec<Tensor>) {
    let arguments: Vec<Var> = arguments
        .iter()
        .map(|t| Var::from_tensor(t).unwrap())
        .collect();
    let y = f(&arguments).unwrap();
    let loss = (&y * random(y.dims(), 99)).unwrap().sum_all().unwrap();
    let gradients = backward(&loss).unwrap();
    let of = |var: &Var| gradients.get(var).unwrap().clone();
    (y.detach(), arguments.iter().map(of).collect())
}

/// Asserts that two functions have the same value and the same gradients.
pub fn assert_same(
    ours: impl Fn(&[Var]) -> Result<Tensor>,
    reference: impl Fn(&[Var]) -> Result<Tensor>,
    arguments: &[Tensor],
) {
    assert_near(1.0, ours, reference, arguments);
}

/// `times` is how much the functions magnify rounding errors.
///
/// A gradient that is a sum may cancel, but its rounding errors stay those of its terms, which are
/// as large as the other gradients: so these are part of the measure.
fn assert_near(
    times: f32,
    ours: impl Fn(&[Var]) -> Result<Tensor>,
    reference: impl Fn(&[Var]) -> Result<Tensor>,
    arguments: &[Tensor],
) {
    let (y, gradients) = differentiate(ours, arguments);
    let (expected, expected_gradients) = differentiate(reference, arguments);
    let assert_within = |what: &str, ours: &Tensor, theirs: &Tensor, scale: f32, bound: f32| {
        assert_eq!(ours.shape(), theirs.shape());
        let far = norm(&(ours - theirs).unwrap()) / scale;
        assert!(far < bound * times, "{what}: {far}");
    };
    assert_within("value", &y, &expected, norm(&expected).max(1e-6), 1e-5);
    let largest = expected_gradients.iter().map(norm).fold(0.0, f32::max);
    for (i, (ours, theirs)) in gradients.iter().zip(&expected_gradients).enumerate() {
        let scale = norm(theirs).max(0.1 * largest).max(1e-6);
        assert_within(
            &format!("gradient of argument {i}"),
            ours,
            theirs,
            scale,
            2e-5,
        );
    }
}

/// Value and gradients of a model, in one row, computed by so many threads.
pub fn bits(
    threads: usize,
    model: impl Fn(&[Var]) -> Result<Tensor> + Send,
    arguments: &[Tensor],
) -> Vec<f32> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.unwrap().install(|| {
        let (y, gradients) = differentiate(model, arguments);
        std::iter::once(&y)
            .chain(&gradients)
            .flat_map(|t| t.flatten_all().unwrap().to_vec1::<f32>().unwrap())
            .collect()
    })
}

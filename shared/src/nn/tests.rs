//! Every operation against candle's stock autograd, on random shapes.

use candle_core::{Device, Result, Tensor, Var, backprop::GradStore};
use proptest::prelude::*;

use super::*;
use crate::random::Stream;

/// Numbers between -1 and 1, by key.
pub(super) fn random(shape: &[usize], key: u64) -> Tensor {
    let mut stream = Stream::new(key, "nn", &[]);
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|_| stream.between(-1.0, 1.0) as f32)
        .collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn distance(ours: &Tensor, theirs: &Tensor) -> f32 {
    assert_eq!(ours.shape(), theirs.shape());
    let norm = |t: &Tensor| {
        let square = t.sqr().unwrap().sum_all().unwrap();
        square.to_scalar::<f32>().unwrap().sqrt()
    };
    norm(&(ours - theirs).unwrap()) / norm(theirs).max(1e-6)
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
    let cotangent = random(y.dims(), 99);
    let gradients: GradStore = (&y * cotangent)
        .unwrap()
        .sum_all()
        .unwrap()
        .backward()
        .unwrap();
    let of = |var: &Var| gradients.get(var).unwrap().clone();
    (y.detach(), arguments.iter().map(of).collect())
}

/// Asserts that two functions have the same value and the same gradients.
pub(super) fn assert_same(
    ours: impl Fn(&[Var]) -> Result<Tensor>,
    stock: impl Fn(&[Var]) -> Result<Tensor>,
    arguments: &[Tensor],
) {
    let (y, gradients) = differentiate(ours, arguments);
    let (expected, expected_gradients) = differentiate(stock, arguments);
    assert!(distance(&y, &expected) < 1e-5, "value");
    for (i, (ours, theirs)) in gradients.iter().zip(&expected_gradients).enumerate() {
        let distance = distance(ours, theirs);
        assert!(distance < 2e-5, "gradient of argument {i}: {distance}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn convolution_and_its_gradients_equal_stock_candle(
        images in 1usize..5, c_in in 1usize..10, c_out in 1usize..14,
        height in 3usize..19, wider in 0usize..6,
        (kernel, stride, padding) in prop_oneof![
            Just((3, 1, 1)), Just((3, 2, 1)), Just((1, 1, 0)), Just((1, 2, 0)),
            Just((2, 2, 0)), Just((3, 1, 0)),
        ],
    ) {
        // Stock candle's gradient needs the same remainder of the stride in both directions.
        let arguments = [
            random(&[images, c_in, height, height + stride * wider], 1),
            random(&[c_out, c_in, kernel, kernel], 2),
        ];
        assert_same(
            |a| conv2d(&a[0], &a[1], stride, padding),
            |a| a[0].conv2d(&a[1], padding, stride, 1, 1),
            &arguments,
        );
    }

    #[test]
    fn transposed_convolution_and_its_gradients_equal_stock_candle(
        images in 1usize..4, c_in in 1usize..10, c_out in 1usize..10,
        height in 1usize..9, width in 1usize..9,
    ) {
        let arguments = [
            random(&[images, c_in, height, width], 1),
            random(&[c_in, c_out, 2, 2], 2),
        ];
        assert_same(
            |a| conv_transpose2d(&a[0], &a[1], 2),
            |a| a[0].conv_transpose2d(&a[1], 0, 0, 2, 1),
            &arguments,
        );
    }

    #[test]
    fn batch_norm_and_its_gradients_equal_stock_candle(
        images in 2usize..6, channels in 1usize..9, side in 1usize..9,
        relu: bool, with_residual: bool, training: bool,
    ) {
        let shape = [images, channels, side, side + 1];
        let arguments = [
            random(&shape, 1),
            random(&[channels], 2),
            random(&[channels], 3),
            random(&shape, 4),
        ];
        let (mean, variance, statistics) = if training {
            let (mean, variance) = moments(&arguments[0]).unwrap();
            (mean, variance, Statistics::Batch)
        } else {
            let variance = (random(&[channels], 6).sqr().unwrap() + 0.1).unwrap();
            (random(&[channels], 5), variance, Statistics::Running)
        };
        type Norm = fn(&Tensor, &Normalisation, Statistics, Option<&Tensor>, bool) -> Result<Tensor>;
        let of = |norm: Norm| {
            let (mean, variance) = (mean.clone(), variance.clone());
            move |a: &[Var]| {
                let (gamma, beta) = (a[1].as_tensor().clone(), a[2].as_tensor().clone());
                let (mean, variance) = (mean.clone(), variance.clone());
                let channels = Normalisation { gamma, beta, mean, variance };
                let residual = with_residual.then(|| a[3].as_tensor());
                let y = norm(&a[0], &channels, statistics, residual, relu)?;
                // Without a residual the fourth argument still needs a gradient to compare.
                if with_residual { Ok(y) } else { y + a[3].as_tensor() }
            }
        };
        assert_same(of(batch_norm), of(batch_norm::stock), &arguments);
    }

    #[test]
    fn a_folded_convolution_equals_the_two_operations_it_replaces(
        images in 1usize..4, c_in in 1usize..9, c_out in 1usize..12, side in 3usize..12,
        relu: bool, with_residual: bool,
    ) {
        let arguments = [random(&[images, c_in, side, side], 1), random(&[images, c_out, side, side], 2)];
        let weight = random(&[c_out, c_in, 3, 3], 3);
        let norm = Normalisation {
            gamma: random(&[c_out], 4),
            beta: random(&[c_out], 5),
            mean: random(&[c_out], 6),
            variance: (random(&[c_out], 7).sqr().unwrap() + 0.1).unwrap(),
        };
        let with = |a: &[Var], f: &dyn Fn(Option<&Tensor>) -> Result<Tensor>| {
            if with_residual { f(Some(&a[1])) } else { f(None)? + a[1].as_tensor() }
        };
        assert_same(
            |a| with(a, &|r| conv_norm_frozen(&a[0], &weight, (1, 1), &norm, r, relu)),
            |a| with(a, &|r| {
                let y = a[0].conv2d(&weight, 1, 1, 1, 1)?;
                batch_norm::stock(&y, &norm, Statistics::Running, r, relu)
            }),
            &arguments,
        );
    }

    #[test]
    fn a_picture_convolves_to_the_same_bits_in_any_batch(
        images in 1usize..9, c_in in 1usize..20, c_out in 1usize..20, size in 1usize..6,
    ) {
        let side = 1 << size;
        let x = random(&[images, c_in, side, side], 1);
        let weight = random(&[c_out, c_in, 3, 3], 2);
        let bits = |x: &Tensor| -> Vec<f32> {
            conv2d(x, &weight, 1, 1).unwrap().flatten_all().unwrap().to_vec1().unwrap()
        };
        let alone: Vec<f32> = (0..images).flat_map(|i| bits(&x.narrow(0, i, 1).unwrap())).collect();
        prop_assert_eq!(bits(&x), alone);
    }
}

/// Value and gradients of a net, in one row, computed by so many threads.
pub(super) fn bits(
    threads: usize,
    net: impl Fn(&[Var]) -> Result<Tensor> + Send,
    arguments: &[Tensor],
) -> Vec<f32> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.unwrap().install(|| {
        let (y, gradients) = differentiate(net, arguments);
        std::iter::once(&y)
            .chain(&gradients)
            .flat_map(|t| t.flatten_all().unwrap().to_vec1::<f32>().unwrap())
            .collect()
    })
}

#[test]
fn gradients_have_the_same_bits_with_one_thread_and_with_four() {
    let arguments = [
        random(&[9, 7, 12, 12], 1),
        random(&[11, 7, 3, 3], 2),
        random(&[11], 3),
    ];
    let net = |a: &[Var]| {
        let y = conv2d(&a[0], &a[1], 1, 1)?;
        let (mean, variance) = moments(&y)?;
        let (gamma, beta) = (a[2].as_tensor().clone(), a[2].as_tensor().clone());
        let norm = Normalisation {
            gamma,
            beta,
            mean,
            variance,
        };
        batch_norm(&y, &norm, Statistics::Batch, None, true)
    };
    assert_eq!(bits(1, net, &arguments), bits(4, net, &arguments));
}

#[test]
fn a_frozen_weight_gets_no_gradient() {
    let x = Var::from_tensor(&random(&[2, 3, 8, 8], 1)).unwrap();
    let weight = random(&[4, 3, 3, 3], 2);
    let gradients = conv2d(&x, &weight, 1, 1)
        .unwrap()
        .sum_all()
        .unwrap()
        .backward()
        .unwrap();
    assert!(gradients.get(&x).is_some() && gradients.get(&weight).is_none());
}

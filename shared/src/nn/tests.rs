//! Every operation against candle's stock autograd, on random shapes.

use candle_core::{Device, Result, Tensor, Var, backprop::GradStore};
use proptest::prelude::*;

use super::*;
use crate::random::Stream;

fn random(shape: &[usize], key: u64) -> Tensor {
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

fn assert_same(
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
        images in 1usize..5, c_in in 1usize..40, c_out in 1usize..40,
        height in 3usize..19, wider in 0usize..6,
        (kernel, stride, padding) in prop_oneof![
            Just((3, 1, 1)), Just((3, 2, 1)), Just((1, 1, 0)), Just((1, 2, 0)),
            Just((2, 2, 0)), Just((3, 1, 0)),
        ],
    ) {
        // Stock candle's gradient needs the same remainder of the stride in both directions.
        let arguments = [
            random(&[images, height, height + stride * wider, c_in], 1),
            random(&[c_out, c_in, kernel, kernel], 2),
            random(&[c_out], 3),
        ];
        assert_same(
            |a| conv2d(&a[0], &a[1], &a[2], (stride, padding)),
            |a| convolution::stock_conv2d(&a[0], &a[1], stride, padding)?.broadcast_add(&a[2]),
            &arguments,
        );
    }

    #[test]
    fn transposed_convolution_and_its_gradients_equal_stock_candle(
        images in 1usize..4, c_in in 1usize..20, c_out in 1usize..20,
        height in 1usize..9, width in 1usize..9,
    ) {
        let arguments = [
            random(&[images, height, width, c_in], 1),
            random(&[c_in, c_out, 2, 2], 2),
            random(&[c_out], 3),
        ];
        let stock = convolution::stock_conv_transpose2d;
        assert_same(
            |a| conv_transpose2d(&a[0], &a[1], &a[2], 2),
            |a| stock(&a[0], &a[1], 2)?.broadcast_add(&a[2]),
            &arguments,
        );
    }

    #[test]
    fn a_learning_convolution_and_its_gradients_equal_stock_candle(
        images in 2usize..6, c_in in 1usize..20, c_out in 1usize..20, side in 3usize..12,
        relu: bool, with_residual: bool,
    ) {
        let arguments = [
            random(&[images, side, side + 1, c_in], 1),
            random(&[c_out, c_in, 3, 3], 2),
            random(&[c_out], 3),
            random(&[c_out], 4),
            random(&[images, side, side + 1, c_out], 5),
        ];
        type Layer = fn(&Tensor, &ConvNormParameters, Option<&Tensor>, bool) -> Result<Normalised>;
        let of = |layer: Layer| move |a: &[Var]| {
            let tensor = |i: usize| a[i].as_tensor().clone();
            let parameters = ConvNormParameters {
                weight: tensor(1),
                gamma: tensor(2),
                beta: tensor(3),
                shape: (1, 1),
            };
            let residual = with_residual.then(|| a[4].as_tensor());
            let out = layer(&a[0], &parameters, residual, relu)?;
            // The moments are constants: as factors they are compared, not differentiated.
            let y = out.y.broadcast_mul(&out.mean)?.broadcast_mul(&out.variance)?;
            // Without a residual the last argument still needs a gradient to compare.
            if with_residual { Ok(y) } else { y + a[4].as_tensor() }
        };
        assert_same(of(conv_norm), of(batch_norm::stock_conv_norm), &arguments);
    }

    #[test]
    fn a_frozen_convolution_equals_the_operations_it_replaces(
        images in 1usize..4, c_in in 1usize..20, c_out in 1usize..20, side in 3usize..12,
        relu: bool, with_residual: bool,
    ) {
        let arguments = [
            random(&[images, side, side, c_in], 1),
            random(&[images, side, side, c_out], 2),
        ];
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
        let frozen = FrozenConvNorm::new(&weight, &norm, (1, 1)).unwrap();
        assert_same(
            |a| with(a, &|r| frozen.forward(&a[0], r, relu)),
            |a| with(a, &|r| {
                let deviation = (&norm.variance + batch_norm::EPS)?.sqrt()?;
                let mut y = convolution::stock_conv2d(&a[0], &weight, 1, 1)?
                    .broadcast_sub(&norm.mean)?
                    .broadcast_div(&deviation)?
                    .broadcast_mul(&norm.gamma)?
                    .broadcast_add(&norm.beta)?;
                if let Some(r) = r {
                    y = (y + r)?;
                }
                if relu { y.relu() } else { Ok(y) }
            }),
            &arguments,
        );
    }

    #[test]
    fn token_operations_and_their_gradients_equal_stock_candle(
        batch in 1usize..4, tokens in 1usize..40, size in 1usize..40,
    ) {
        let x = (random(&[batch, tokens, size], 1) * 3.0).unwrap();
        let arguments = [x.clone(), random(&[size], 2), random(&[size], 3)];
        let (ours, stock) = (token::layer_norm, token::stock_layer_norm);
        // Rows of few numbers may be nearly constant, which magnifies rounding.
        let eps = 1e-2;
        assert_same(
            |a| ours(&a[0], &a[1], &a[2], eps),
            |a| stock(&a[0], &a[1], &a[2], eps),
            &arguments,
        );
        let x = [x];
        assert_same(|a| gelu(&a[0]), |a| a[0].gelu_erf(), &x);
        for heads in [1, 4] {
            let qkv = [random(&[batch, tokens, 3 * heads * size], 4)];
            let stock = token::stock_attention;
            assert_same(|a| attention(&a[0], heads), |a| stock(&a[0], heads), &qkv);
        }
        let mask = dropout(&x[0].ones_like().unwrap(), 0.3, 9).unwrap();
        assert_same(|a| dropout(&a[0], 0.3, 9), |a| a[0].as_tensor() * &mask, &x);
    }

    #[test]
    fn a_picture_convolves_to_the_same_bits_in_any_batch(
        images in 1usize..9, c_in in 1usize..20, c_out in 1usize..20, size in 1usize..6,
        stride in 1usize..3,
    ) {
        let side = 1 << size;
        let x = random(&[images, side, side, c_in], 1);
        let (weight, bias) = (random(&[c_out, c_in, 3, 3], 2), random(&[c_out], 3));
        let bits = |x: &Tensor| -> Vec<f32> {
            let y = conv2d(x, &weight, &bias, (stride, 1)).unwrap();
            y.flatten_all().unwrap().to_vec1().unwrap()
        };
        let alone: Vec<f32> = (0..images).flat_map(|i| bits(&x.narrow(0, i, 1).unwrap())).collect();
        prop_assert_eq!(bits(&x), alone);
    }
}

#[test]
fn gradients_have_the_same_bits_with_one_thread_and_with_four() {
    let bits = |threads: usize, stride: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let arguments = [
                random(&[9, 12, 12, 19], 1),
                random(&[11, 19, 3, 3], 2),
                random(&[11], 3),
            ];
            let layer = |a: &[Var]| {
                let parameters = ConvNormParameters {
                    weight: a[1].as_tensor().clone(),
                    gamma: a[2].as_tensor().clone(),
                    beta: a[2].as_tensor().clone(),
                    shape: (stride, 1),
                };
                Ok(conv_norm(&a[0], &parameters, None, true)?.y)
            };
            let (y, gradients) = differentiate(layer, &arguments);
            std::iter::once(&y)
                .chain(&gradients)
                .flat_map(|t| t.flatten_all().unwrap().to_vec1::<f32>().unwrap())
                .collect::<Vec<f32>>()
        })
    };
    for stride in [1, 2] {
        assert_eq!(bits(1, stride), bits(4, stride));
    }
}

#[test]
fn dropout_keeps_the_mean_and_repeats_itself() {
    let x = Tensor::ones((64, 1000), candle_core::DType::F32, &Device::Cpu).unwrap();
    let mean = |t: &Tensor| t.mean_all().unwrap().to_scalar::<f32>().unwrap();
    let y = dropout(&x, 0.1, 5).unwrap();
    assert!((mean(&y) - 1.0).abs() < 0.01);
    assert_eq!(distance(&dropout(&x, 0.1, 5).unwrap(), &y), 0.0);
    assert!(distance(&dropout(&x, 0.1, 6).unwrap(), &y) > 0.1);
    assert_eq!(distance(&dropout(&x, 0.0, 5).unwrap(), &x), 0.0);
}

#[test]
fn a_constant_weight_gets_no_gradient() {
    let x = Var::from_tensor(&random(&[2, 8, 8, 3], 1)).unwrap();
    let (weight, bias) = (random(&[4, 3, 3, 3], 2), random(&[4], 3));
    let y = conv2d(&x, &weight, &bias, (1, 1)).unwrap();
    let gradients = y.sum_all().unwrap().backward().unwrap();
    assert!(gradients.get(&x).is_some());
    assert!(gradients.get(&weight).is_none() && gradients.get(&bias).is_none());
}

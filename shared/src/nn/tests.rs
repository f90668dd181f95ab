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

/// Shifts that put each channel wholly above or wholly below zero, so that no rounding decides
/// what a ReLU cuts.
fn decided(channels: usize, key: u64) -> Tensor {
    let mut stream = Stream::new(key, "decided", &[]);
    let mut draw = || match stream.between(0.0, 1.0) {
        x if x < 0.3 => -1000.0,
        x => (2.0 + x) as f32,
    };
    let shifts: Vec<f32> = (0..channels).map(|_| draw()).collect();
    Tensor::from_vec(shifts, channels, &Device::Cpu).unwrap()
}

fn filter(weight: &Tensor, stride: usize, padding: usize) -> Filter {
    Filter {
        weight: weight.clone(),
        stride,
        padding,
    }
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
    let gradients: GradStore = (&y * random(y.dims(), 99))
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
    assert_near(1.0, ours, stock, arguments);
}

/// `times` is how much the functions magnify rounding errors.
///
/// A gradient that is a sum may cancel, but its rounding errors stay those of its terms, which are
/// as large as the other gradients: so these are part of the measure.
fn assert_near(
    times: f32,
    ours: impl Fn(&[Var]) -> Result<Tensor>,
    stock: impl Fn(&[Var]) -> Result<Tensor>,
    arguments: &[Tensor],
) {
    let (y, gradients) = differentiate(ours, arguments);
    let (expected, expected_gradients) = differentiate(stock, arguments);
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
            |a| conv2d(&a[0], &filter(&a[1], stride, padding), &a[2]),
            |a| {
                let filter = filter(&a[1], stride, padding);
                convolution::stock_conv2d(&a[0], &filter)?.broadcast_add(&a[2])
            },
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
    fn a_learning_chain_and_its_gradients_equal_stock_candle(
        images in 2usize..6, c_in in 1usize..20, c_out in 1usize..20, side in 3usize..12,
        stride in 1usize..3,
    ) {
        // Strides leave the same remainder in both directions, as stock candle's gradient needs.
        let arguments = [vec![random(&[images, side, side + stride, c_in], 1)]]
            .into_iter()
            .chain((0..4).map(|layer| {
                let (inputs, kernel) = [(c_in, 3), (c_out, 3), (c_in, 1), (c_out, 3)][layer];
                let draw = |shape: &[usize], i| random(shape, 10 * layer as u64 + i);
                vec![
                    draw(&[c_out, inputs, kernel, kernel], 2),
                    (draw(&[c_out], 3) * 0.3).unwrap(),
                    decided(c_out, 10 * layer as u64),
                ]
            }))
            .collect::<Vec<_>>()
            .concat();
        let links = |a: &[Var]| {
            let layer = |layer: usize, stride, padding| {
                let tensor = |i: usize| a[1 + 3 * layer + i].as_tensor().clone();
                ConvNormParameters {
                    filter: filter(&tensor(0), stride, padding),
                    gamma: tensor(1),
                    beta: tensor(2),
                }
            };
            [
                Link::Block {
                    first: layer(0, stride, 1),
                    second: layer(1, 1, 1),
                    shortcut: Some(layer(2, stride, 0)),
                },
                Link::Plain(layer(3, 1, 1)),
                Link::Block {
                    first: layer(3, 1, 1),
                    second: layer(1, 1, 1),
                    shortcut: None,
                },
            ]
        };
        type Walk = fn(&Tensor, &[Link<ConvNormParameters>]) -> Result<(Tensor, Vec<Moments>)>;
        let of = |walk: Walk| move |a: &[Var]| {
            let (mut y, moments) = walk(&a[0], &links(a))?;
            // The moments are constants: as factors they are compared, not differentiated.
            for moments in moments {
                y = y.broadcast_mul(&moments.mean)?.broadcast_div(&(moments.variance + 1.0)?)?;
            }
            Ok(y)
        };
        let stock = chain::stock_learning_chain;
        assert_near(10.0, of(learning_chain), of(stock), &arguments);
    }

    #[test]
    fn a_frozen_chain_and_its_gradient_equal_the_operations_it_replaces(
        images in 1usize..4, c_in in 1usize..20, c_out in 1usize..20, side in 3usize..12,
        stride in 1usize..3,
    ) {
        let layer = |key: u64, inputs: usize, kernel: usize, (stride, padding)| {
            let draw = |shape: &[usize], i| random(shape, 10 * key + i);
            let weight = draw(&[c_out, inputs, kernel, kernel], 1);
            let norm = Normalisation {
                gamma: (draw(&[c_out], 2) * (0.05 / inputs as f64)).unwrap(),
                beta: decided(c_out, key),
                mean: draw(&[c_out], 3),
                variance: (draw(&[c_out], 4).sqr().unwrap() + 0.3).unwrap(),
            };
            (filter(&weight, stride, padding), norm)
        };
        // Its ReLU cuts single pixels: those below zero, none of which is near it.
        let x = random(&[images, side, side + stride, c_in], 7);
        let x = (&x + (x.sign().unwrap() * 0.1).unwrap()).unwrap();
        let ones = Tensor::ones(c_in, candle_core::DType::F32, &Device::Cpu).unwrap();
        let itself = Tensor::eye(c_in, candle_core::DType::F32, &Device::Cpu).unwrap();
        let relu = Normalisation {
            gamma: ones.clone(),
            beta: ones.zeros_like().unwrap(),
            mean: ones.zeros_like().unwrap(),
            variance: ones,
        };
        let links = [
            Link::Plain((filter(&itself.reshape((c_in, c_in, 1, 1)).unwrap(), 1, 0), relu)),
            Link::Block {
                first: layer(1, c_in, 3, (stride, 1)),
                second: layer(2, c_out, 3, (1, 1)),
                shortcut: Some(layer(3, c_in, 1, (stride, 0))),
            },
            Link::Plain(layer(4, c_out, 3, (1, 1))),
            Link::Block {
                first: layer(5, c_out, 3, (1, 1)),
                second: layer(6, c_out, 3, (1, 1)),
                shortcut: None,
            },
        ];
        let freeze = |(filter, norm): &(Filter, Normalisation)| FrozenConvNorm::new(filter, norm);
        let frozen: Vec<_> = links.iter().map(|link| link.try_map(freeze).unwrap()).collect();
        assert_same(
            |a| frozen_chain(&a[0], &frozen),
            |a| chain::stock(&a[0], &links, &mut |(filter, norm), x, residual, relu| {
                let deviation = (&norm.variance + learning::EPS)?.sqrt()?;
                let mut y = convolution::stock_conv2d(x, filter)?
                    .broadcast_sub(&norm.mean)?
                    .broadcast_div(&deviation)?
                    .broadcast_mul(&norm.gamma)?
                    .broadcast_add(&norm.beta)?;
                if let Some(residual) = residual {
                    y = (y + residual)?;
                }
                if relu { y.relu() } else { Ok(y) }
            }),
            &[x],
        );
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
            let y = conv2d(x, &filter(&weight, stride, 1), &bias).unwrap();
            y.flatten_all().unwrap().to_vec1().unwrap()
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
        random(&[9, 12, 12, 19], 1),
        random(&[11, 19, 3, 3], 2),
        random(&[11], 3),
    ];
    for stride in [1, 2] {
        let layer = |a: &[Var]| {
            let parameters = ConvNormParameters {
                filter: filter(&a[1], stride, 1),
                gamma: a[2].as_tensor().clone(),
                beta: a[2].as_tensor().clone(),
            };
            Ok(learning_chain(&a[0], &[Link::Plain(parameters)])?.0)
        };
        assert_eq!(bits(1, layer, &arguments), bits(4, layer, &arguments));
    }
}

#[test]
fn a_constant_weight_gets_no_gradient() {
    let x = Var::from_tensor(&random(&[2, 8, 8, 3], 1)).unwrap();
    let (weight, bias) = (random(&[4, 3, 3, 3], 2), random(&[4], 3));
    let y = conv2d(&x, &filter(&weight, 1, 1), &bias).unwrap();
    let gradients = y.sum_all().unwrap().backward().unwrap();
    assert!(gradients.get(&x).is_some());
    assert!(gradients.get(&weight).is_none() && gradients.get(&bias).is_none());
}

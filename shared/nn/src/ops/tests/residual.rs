//! Residual stacks in training and evaluation mode.

use proptest::prelude::*;

use super::*;

/// Shifts that put each channel wholly above or wholly below zero, so that no rounding decides
/// what a ReLU cuts.
pub(super) fn decided(channels: usize, key: u64) -> Tensor {
    let mut stream = Stream::new(key, "decided", &[]);
    let mut draw = || match stream.between(0.0, 1.0) {
        x if x < 0.3 => -1000.0,
        x => (2.0 + x) as f32,
    };
    let shifts: Vec<f32> = (0..channels).map(|_| draw()).collect();
    Tensor::from_vec(shifts, channels, &Device::Cpu).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn a_residual_stack_in_training_mode_and_its_gradients_equal_stock_candle(
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
        let stack = |a: &[Var]| {
            let layer = |layer: usize, stride, padding| {
                let tensor = |i: usize| a[1 + 3 * layer + i].as_tensor().clone();
                ConvBn {
                    filter: filter(&tensor(0), stride, padding),
                    gamma: tensor(1),
                    beta: tensor(2),
                    running: zeros(c_out),
                }
            };
            [
                ResidualLayer::Block {
                    first: layer(0, stride, 1),
                    second: layer(1, 1, 1),
                    shortcut: Some(layer(2, stride, 0)),
                },
                ResidualLayer::Plain(layer(3, 1, 1)),
                ResidualLayer::Block {
                    first: layer(3, 1, 1),
                    second: layer(1, 1, 1),
                    shortcut: None,
                },
            ]
        };
        type Pass = fn(&Tensor, &[ResidualLayer<ConvBn>]) -> Result<Tensor>;
        let of = |pass: Pass| move |a: &[Var]| {
            let stack = stack(a);
            times_statistics(pass(&a[0], &stack)?, &stack)
        };
                assert_near(10.0, of(residual_train), of(reference::residual_train), &arguments);
    }

    #[test]
    fn a_residual_stack_in_evaluation_mode_and_its_gradient_equal_the_operations_it_replaces(
        images in 1usize..4, c_in in 1usize..20, c_out in 1usize..20, side in 3usize..12,
        stride in 1usize..3,
    ) {
        let layer = |key: u64, inputs: usize, kernel: usize, (stride, padding)| {
            let draw = |shape: &[usize], i| random(shape, 10 * key + i);
            let weight = draw(&[c_out, inputs, kernel, kernel], 1);
            let norm = BatchNormParams {
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
        let relu = BatchNormParams {
            gamma: ones.clone(),
            beta: ones.zeros_like().unwrap(),
            mean: ones.zeros_like().unwrap(),
            variance: ones,
        };
        let stack = [
            ResidualLayer::Plain((filter(&itself.reshape((c_in, c_in, 1, 1)).unwrap(), 1, 0), relu)),
            ResidualLayer::Block {
                first: layer(1, c_in, 3, (stride, 1)),
                second: layer(2, c_out, 3, (1, 1)),
                shortcut: Some(layer(3, c_in, 1, (stride, 0))),
            },
            ResidualLayer::Plain(layer(4, c_out, 3, (1, 1))),
            ResidualLayer::Block {
                first: layer(5, c_out, 3, (1, 1)),
                second: layer(6, c_out, 3, (1, 1)),
                shortcut: None,
            },
        ];
        let fold = |(filter, norm): &(Conv2d, BatchNormParams)| FoldedConvBn::new(filter, norm);
        let folded: Vec<_> = stack.iter().map(|part| part.try_map(fold).unwrap()).collect();
        assert_same(
            |a| residual_eval(&a[0], &folded),
            |a| reference::residual_stack(&a[0], &stack, &mut |(filter, norm), x, residual, relu| {
                let deviation = (&norm.variance + EPS)?.sqrt()?;
                let mut y = reference::conv2d(x, filter)?
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
            let parameters = ConvBn {
                filter: filter(&a[1], stride, 1),
                gamma: a[2].as_tensor().clone(),
                beta: a[2].as_tensor().clone(),
                running: zeros(11),
            };
            residual_train(&a[0], &[ResidualLayer::Plain(parameters)])
        };
        assert_eq!(bits(1, layer, &arguments), bits(4, layer, &arguments));
    }
}

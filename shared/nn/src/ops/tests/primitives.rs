//! Batch norm, ReLU and pooling as operations of their own, and what they make up.

use proptest::prelude::*;

use super::{residual::decided, *};

/// Batch norm in training mode from candle's own operations.
fn reference_batch_norm(x: &Tensor, gamma: &Tensor, beta: &Tensor) -> Result<Tensor> {
    let over = |t: &Tensor| t.mean_keepdim(0)?.mean_keepdim(1)?.mean_keepdim(2);
    let centered = x.broadcast_sub(&over(x)?)?;
    let variance = over(&centered.sqr()?)?;
    centered
        .broadcast_div(&(variance + EPS)?.sqrt()?)?
        .broadcast_mul(gamma)?
        .broadcast_add(beta)
}

/// A residual layer from the primitives.
fn composed(x: &Tensor, stack: &[ResidualLayer<ConvBn>]) -> Result<Tensor> {
    reference::residual_stack(x, stack, &mut |layer, x, residual, activate| {
        let y = conv2d(x, &layer.filter, None)?;
        let mut y = batch_norm_train(&y, &layer.gamma, &layer.beta, &layer.running)?;
        if let Some(residual) = residual {
            y = add(&y, residual)?;
        }
        if activate { relu(&y) } else { Ok(y) }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn batch_norm_in_training_mode_and_its_gradients_equal_stock_candle(
        images in 2usize..6, height in 2usize..9, width in 2usize..9, channels in 1usize..40,
    ) {
        let arguments = [
            random(&[images, height, width, channels], 1),
            random(&[channels], 2),
            random(&[channels], 3),
        ];
        assert_near(
            10.0,
            |a| batch_norm_train(&a[0], &a[1], &a[2], &zeros(channels)),
            |a| reference_batch_norm(&a[0], &a[1], &a[2]),
            &arguments,
        );
        let running = RunningStatistics {
            mean: random(&[channels], 4),
            variance: random(&[channels], 5),
        };
        let moved = |statistic: &Tensor, batch: Tensor| ((statistic * 0.9)? + (batch * 0.1)?)?.copy();
        let rows = arguments[0].reshape(((), channels)).unwrap();
        let mean = rows.mean(0).unwrap();
        let squares = rows.broadcast_sub(&mean).unwrap().sqr().unwrap().sum(0).unwrap();
        let unbiased = (squares / (images * height * width - 1) as f64).unwrap();
        let mean = moved(&running.mean, mean).unwrap();
        let variance = moved(&running.variance, unbiased).unwrap();
        batch_norm_train(&arguments[0], &arguments[1], &arguments[2], &running).unwrap();
        prop_assert!(norm(&(running.mean - mean).unwrap()) < 1e-5);
        prop_assert!(norm(&(running.variance - variance).unwrap()) < 1e-5);
    }

    #[test]
    fn batch_norm_in_evaluation_mode_and_its_gradient_equal_stock_candle(
        images in 1usize..6, side in 1usize..9, channels in 1usize..40,
    ) {
        let draw = |key| random(&[channels], key);
        let params = BatchNormParams {
            gamma: draw(2),
            beta: draw(3),
            mean: draw(4),
            variance: (draw(5).sqr().unwrap() + 0.1).unwrap(),
        };
        assert_same(
            |a| batch_norm_eval(&a[0], &params),
            |a| a[0]
                .broadcast_sub(&params.mean)?
                .broadcast_div(&(&params.variance + EPS)?.sqrt()?)?
                .broadcast_mul(&params.gamma)?
                .broadcast_add(&params.beta),
            &[random(&[images, side, side, channels], 1)],
        );
    }

    #[test]
    fn relu_and_global_average_pooling_and_their_gradients_equal_stock_candle(
        images in 1usize..6, side in 1usize..9, channels in 1usize..40,
    ) {
        let x = random(&[images, side, side, channels], 1);
        assert_same(
            |a| global_avg_pool(&relu(&a[0])?),
            |a| a[0].relu()?.mean(1)?.mean(1),
            &[x],
        );
    }

    #[test]
    fn the_fused_residual_stack_equals_the_composition_of_the_primitives(
        images in 2usize..6, c_in in 1usize..20, c_out in 1usize..20, side in 3usize..12,
        stride in 1usize..3,
    ) {
        let layer = |a: &[Var], layer: usize, stride, padding| ConvBn {
            filter: filter(&a[1 + 3 * layer], stride, padding),
            gamma: a[2 + 3 * layer].as_tensor().clone(),
            beta: a[3 + 3 * layer].as_tensor().clone(),
            running: zeros(c_out),
        };
        let arguments = std::iter::once(random(&[images, side, side + stride, c_in], 1))
            .chain([(c_in, 3), (c_out, 3), (c_in, 1), (c_out, 3)].into_iter().enumerate().flat_map(
                |(layer, (inputs, kernel))| {
                    let key = 10 * layer as u64;
                    [
                        random(&[c_out, inputs, kernel, kernel], key + 2),
                        (random(&[c_out], key + 3) * 0.3).unwrap(),
                        decided(c_out, key),
                    ]
                },
            ))
            .collect::<Vec<_>>();
        let stack = |a: &[Var]| [
            ResidualLayer::Block {
                first: layer(a, 0, stride, 1),
                second: layer(a, 1, 1, 1),
                shortcut: Some(layer(a, 2, stride, 0)),
            },
            ResidualLayer::Plain(layer(a, 3, 1, 1)),
        ];
        type Pass = fn(&Tensor, &[ResidualLayer<ConvBn>]) -> Result<Tensor>;
        let of = |pass: Pass| move |a: &[Var]| {
            let stack = stack(a);
            times_statistics(pass(&a[0], &stack)?, &stack)
        };
        assert_near(10.0, of(residual_train), of(composed), &arguments);
    }

    #[test]
    fn a_pre_activation_block_of_primitives_equals_stock_candle(
        images in 2usize..5, c_in in 1usize..20, c_out in 1usize..20, side in 3usize..10,
    ) {
        // He et al., "Identity mappings in deep residual networks", 2016: the sum is not activated.
        let arguments = [
            random(&[images, side, side, c_in], 1),
            (random(&[c_in], 2) * 0.3).unwrap(),
            decided(c_in, 3),
            random(&[c_out, c_in, 3, 3], 4),
            random(&[c_out, c_in, 1, 1], 5),
        ];
        assert_near(
            10.0,
            |a| {
                let x = relu(&batch_norm_train(&a[0], &a[1], &a[2], &zeros(c_in))?)?;
                add(
                    &conv2d(&x, &filter(&a[3], 1, 1), None)?,
                    &conv2d(&x, &filter(&a[4], 1, 0), None)?,
                )
            },
            |a| {
                let x = reference_batch_norm(&a[0], &a[1], &a[2])?.relu()?;
                reference::conv2d(&x, &filter(&a[3], 1, 1))? + reference::conv2d(&x, &filter(&a[4], 1, 0))?
            },
            &arguments,
        );
    }
}

#[test]
fn relu_keeps_nan_and_has_no_gradient_at_zero() {
    let x = Tensor::new(&[f32::NAN, 0.0, -1.0, 2.0], &Device::Cpu).unwrap();
    let x = Var::from_tensor(&x.reshape((1, 1, 1, 4)).unwrap()).unwrap();
    let y = relu(&x).unwrap();
    let gradients = y.sum_all().unwrap().backward().unwrap();
    let values = |t: &Tensor| -> Vec<f32> {
        let t = t.to_dtype(DType::F32).unwrap();
        t.flatten_all().unwrap().to_vec1().unwrap()
    };
    let y = values(&y);
    assert!(y[0].is_nan());
    assert_eq!(y[1..], [0.0, 0.0, 2.0]);
    assert_eq!(values(gradients.get(&x).unwrap())[1..], [0.0, 0.0, 1.0]);
}

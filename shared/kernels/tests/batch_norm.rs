//! Batch normalization and ReLU, each alone, against naive loops.

mod support;

use kernels::{
    batch_norm::{
        BatchNormParams, eval_input_gradient, forward, input_gradient, moments, parameter_gradients,
    },
    relu,
};
use proptest::prelude::*;
use support::{assert_close, normal};

const EPS: f64 = 1e-5;

fn params(channels: usize, moments: &[(f64, f64)]) -> BatchNormParams {
    BatchNormParams {
        mean: moments.iter().map(|(mean, _)| *mean as f32).collect(),
        inv_std: moments
            .iter()
            .map(|(_, variance)| (1.0 / (variance + EPS).sqrt()) as f32)
            .collect(),
        gamma: normal(channels, 8),
        beta: normal(channels, 9),
    }
}

/// Mean and biased variance of every channel.
fn naive_moments(channels: usize, x: &[f32]) -> Vec<(f64, f64)> {
    let of = |c: usize| x[c..].iter().step_by(channels).map(|x| f64::from(*x));
    let count = (x.len() / channels) as f64;
    let moments = |c: usize| {
        let mean = of(c).sum::<f64>() / count;
        (mean, of(c).map(|x| (x - mean).powi(2)).sum::<f64>() / count)
    };
    (0..channels).map(moments).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn batch_norm_in_training_and_evaluation_equals_the_loops(
        channels in 1..40usize,
        positions in 2..600usize,
        offset in -20f32..20.0,
    ) {
        let len = positions * channels;
        let x: Vec<f32> = normal(len, 1).iter().map(|x| x + offset).collect();
        let (grad, residual) = (normal(len, 2), normal(len, 3));
        let expected = naive_moments(channels, &x);
        let actual = moments(channels, &x);
        for (a, e) in actual.iter().zip(&expected) {
            prop_assert!((a.0 - e.0).abs() < 1e-5 && (a.1 - e.1).abs() < 1e-4 * (1.0 + e.1));
        }

        let norm = params(channels, &expected);
        let wide = |values: &[f32], at: usize| f64::from(values[at % channels]);
        let normed = |at: usize| (f64::from(x[at]) - wide(&norm.mean, at)) * wide(&norm.inv_std, at);
        let plain: Vec<f64> =
            (0..len).map(|at| normed(at) * wide(&norm.gamma, at) + wide(&norm.beta, at)).collect();
        assert_close("output", &forward(&norm, &x, None, false), &plain, 1e-5);
        let fused: Vec<f64> =
            (0..len).map(|at| (plain[at] + f64::from(residual[at])).max(0.0)).collect();
        assert_close("fused", &forward(&norm, &x, Some(&residual), true), &fused, 1e-5);

        let scale = |at: usize| wide(&norm.inv_std, at) * wide(&norm.gamma, at);
        let eval: Vec<f64> = (0..len).map(|at| f64::from(grad[at]) * scale(at)).collect();
        assert_close("evaluation gradient", &eval_input_gradient(&norm, &grad), &eval, 1e-6);

        let (mut gamma, mut beta) = (vec![0.0; channels], vec![0.0; channels]);
        for (at, grad) in grad.iter().enumerate() {
            gamma[at % channels] += f64::from(*grad) * normed(at);
            beta[at % channels] += f64::from(*grad);
        }
        let sums = parameter_gradients(&norm, &x, &grad);
        assert_close("gamma", &sums.gamma, &gamma, 1e-5);
        assert_close("beta", &sums.beta, &beta, 1e-5);
        let training: Vec<f64> = (0..len)
            .map(|at| {
                let channel = at % channels;
                let mean = (beta[channel] + normed(at) * gamma[channel]) / positions as f64;
                (f64::from(grad[at]) - mean) * scale(at)
            })
            .collect();
        assert_close("training gradient", &input_gradient(&norm, &x, &grad, &sums), &training, 1e-5);
    }

    #[test]
    fn relu_alone_is_exact_forward_and_backward(len in 0..10_000usize) {
        let (x, grad) = (normal(len, 1), normal(len, 2));
        let y = relu::forward(&x);
        prop_assert!(y.iter().zip(&x).all(|(y, x)| *y == x.max(0.0)));
        let back = relu::backward(&y, &grad);
        let expected = |at: usize| if x[at] > 0.0 { grad[at] } else { 0.0 };
        prop_assert!(back.iter().enumerate().all(|(at, grad)| *grad == expected(at)));
    }
}

#[test]
fn relu_keeps_nan_and_stops_gradients_at_zero() {
    assert!(relu::forward(&[f32::NAN])[0].is_nan());
    assert_eq!(
        relu::backward(&[0.0, -1.0, 2.0], &[3.0, 4.0, 5.0]),
        [0.0, 0.0, 5.0]
    );
}

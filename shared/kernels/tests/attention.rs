//! Scaled dot-product attention against naive loops, forward and backward.

mod support;

use kernels::attention::{AttentionShape, backward, forward};
use proptest::prelude::*;
use support::{assert_close, normal};

/// Output `[tokens, d_model]`, log-sum-exp `[heads, tokens]`, and the gradient of `qkv`.
fn naive(shape: AttentionShape, qkv: &[f32], grad: &[f32]) -> [Vec<f64>; 3] {
    let AttentionShape {
        tokens,
        heads,
        head_dim,
    } = shape;
    let d_model = heads * head_dim;
    let place = |part: usize, head: usize, token: usize, i: usize| {
        token * 3 * d_model + part * d_model + head * head_dim + i
    };
    let mut output = vec![0.0; tokens * d_model];
    let mut lse = vec![0.0; heads * tokens];
    let mut grad_qkv = vec![0.0; qkv.len()];
    for (head, t) in (0..heads).flat_map(|head| (0..tokens).map(move |t| (head, t))) {
        let at = |part, token, i| f64::from(qkv[place(part, head, token, i)]);
        let grad = |i: usize| f64::from(grad[t * d_model + head * head_dim + i]);
        let scale = 1.0 / (head_dim as f64).sqrt();
        let dot = |s| {
            (0..head_dim)
                .map(|i| at(0, t, i) * at(1, s, i))
                .sum::<f64>()
                * scale
        };
        let level = (0..tokens).map(|s| dot(s).exp()).sum::<f64>().ln();
        lse[head * tokens + t] = level;
        let probs: Vec<f64> = (0..tokens).map(|s| (dot(s) - level).exp()).collect();
        let grad_prob = |s| (0..head_dim).map(|i| grad(i) * at(2, s, i)).sum::<f64>();
        let delta: f64 = (0..tokens).map(|s| probs[s] * grad_prob(s)).sum();
        for s in 0..tokens {
            let grad_score = probs[s] * (grad_prob(s) - delta) * scale;
            for i in 0..head_dim {
                output[t * d_model + head * head_dim + i] += probs[s] * at(2, s, i);
                grad_qkv[place(0, head, t, i)] += grad_score * at(1, s, i);
                grad_qkv[place(1, head, s, i)] += grad_score * at(0, t, i);
                grad_qkv[place(2, head, s, i)] += probs[s] * grad(i);
            }
        }
    }
    [output, lse, grad_qkv]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn attention_and_its_gradient_equal_the_loops(
        (tokens, heads, head_dim) in (1..40usize, 1..5usize, 1..20usize),
    ) {
        let shape = AttentionShape { tokens, heads, head_dim };
        let d_model = shape.d_model();
        let (qkv, grad) = (normal(tokens * 3 * d_model, 1), normal(tokens * d_model, 2));
        let [expected, expected_lse, expected_grad] = naive(shape, &qkv, &grad);
        let mut squares = [vec![0.0; tokens * tokens], vec![0.0; tokens * tokens]];
        let (mut output, mut lse) = (vec![0.0; tokens * d_model], vec![0.0; heads * tokens]);
        forward(shape, &qkv, &mut squares[0], &mut output, &mut lse);
        assert_close("output", &output, &expected, 1e-5);
        assert_close("log-sum-exp", &lse, &expected_lse, 1e-5);
        let mut grad_qkv = vec![0.0; qkv.len()];
        let squares = squares.each_mut().map(Vec::as_mut_slice);
        backward(shape, (&qkv, &output, &lse), &grad, squares, &mut grad_qkv);
        assert_close("gradient", &grad_qkv, &expected_grad, 1e-5);
    }
}

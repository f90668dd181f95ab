//! Layer normalization of token rows, forward and backward.

use crate::row_ops;

/// A layer normalization.
pub(super) struct LayerNorm<'a> {
    pub(super) weight: &'a [f32],
    pub(super) bias: &'a [f32],
    pub(super) eps: f32,
}

impl LayerNorm<'_> {
    pub(super) fn apply(&self, x: &[f32], y: &mut [f32]) {
        let d_model = self.weight.len();
        for (x, y) in x.chunks_exact(d_model).zip(y.chunks_exact_mut(d_model)) {
            let (mean, inv_std) = row_ops::moments(x, self.eps);
            row_ops::layer_norm_row(x, mean, inv_std, self.weight, self.bias, y);
        }
    }

    /// Gradient of the input.
    pub(super) fn backward(
        &self,
        x: &[f32],
        grad_output: &[f32],
        grad_x: &mut [f32],
        sums: &mut Option<(&mut [f32], &mut [f32])>,
    ) {
        let d_model = self.weight.len();
        let outputs = grad_x.chunks_exact_mut(d_model);
        for ((x, grad_output), out) in x
            .chunks_exact(d_model)
            .zip(grad_output.chunks_exact(d_model))
            .zip(outputs)
        {
            let (mean, inv_std) = row_ops::moments(x, self.eps);
            row_ops::layer_norm_gradient_row(x, mean, inv_std, self.weight, grad_output, out);
            if let Some((weight, bias)) = sums {
                row_ops::layer_norm_parameter_gradients_row(
                    x,
                    mean,
                    inv_std,
                    grad_output,
                    weight,
                    bias,
                );
            }
        }
    }
}

//! Linear layers on token rows, forward and backward, as matrix products.

use crate::{
    gemm::{Beta, Matrix, gemm},
    row_ops::add,
};

/// A linear layer: weight `[outputs, inputs]`, bias `[outputs]`.
#[derive(Clone, Copy)]
pub(super) struct Linear<'a> {
    pub(super) weight: &'a [f32],
    pub(super) bias: &'a [f32],
}

impl<'a> Linear<'a> {
    pub(super) fn new(weight: &'a [f32], bias: &'a [f32]) -> Self {
        Self { weight, bias }
    }

    pub(super) fn matrix(&self) -> Matrix {
        let outputs = self.bias.len();
        Matrix::dense(outputs, self.weight.len() / outputs)
    }

    /// `y = x weight^T`, without the bias: callers add it in a pass over the rows that they make
    /// anyway.
    pub(super) fn apply(&self, x: &[f32], y: &mut [f32]) {
        let weight = self.matrix();
        let count = x.len() / weight.columns;
        let (inputs, outputs) = (weight.columns, weight.rows);
        gemm(
            1.0,
            (x, Matrix::dense(count, inputs)),
            (self.weight, weight.transposed()),
            (y, Matrix::dense(count, outputs)),
            Beta::Zero,
        );
    }

    /// Gradient of the input.
    pub(super) fn backward(&self, grad_output: &[f32], grad_x: &mut [f32]) {
        let weight = self.matrix();
        let count = grad_output.len() / weight.rows;
        let (inputs, outputs) = (weight.columns, weight.rows);
        gemm(
            1.0,
            (grad_output, Matrix::dense(count, outputs)),
            (self.weight, weight),
            (grad_x, Matrix::dense(count, inputs)),
            Beta::Zero,
        );
    }
}

/// Gradients of the weight and bias of a [`Linear`], summed.
pub(super) struct LinearGrads<'a>(pub(super) &'a mut [f32], pub(super) &'a mut [f32]);

impl LinearGrads<'_> {
    /// Adds the gradients of input rows `x` and their `grad_output`.
    pub(super) fn add(&mut self, x: &[f32], grad_output: &[f32]) {
        let outputs = self.1.len();
        let (inputs, count) = (self.0.len() / outputs, grad_output.len() / outputs);
        gemm(
            1.0,
            (grad_output, Matrix::dense(count, outputs).transposed()),
            (x, Matrix::dense(count, inputs)),
            (self.0, Matrix::dense(outputs, inputs)),
            Beta::One,
        );
        for grad_output in grad_output.chunks_exact(outputs) {
            add(self.1, grad_output);
        }
    }
}

//! Token embedding: prepends the class token, adds positions, applies dropout.

use rayon::prelude::*;

use crate::{dropout::DropoutMask, row_ops::add};

/// Sizes of the result, and dropout.
#[derive(Clone, Copy, Debug)]
pub struct Embedding {
    /// Elements of an image, the class token included.
    pub image_len: usize,
    /// Channels of a token.
    pub d_model: usize,
    /// Dropout of the result.
    pub dropout: Option<DropoutMask>,
}

impl Embedding {
    /// `dropout([class; tokens] + positions)`.
    pub fn forward(&self, tokens: &[f32], class: &[f32], positions: &[f32]) -> Vec<f32> {
        let tokens_len = self.image_len - self.d_model;
        let mut y = vec![0.0; tokens.len() / tokens_len * self.image_len];
        y.par_chunks_exact_mut(self.image_len)
            .zip(tokens.par_chunks_exact(tokens_len))
            .enumerate()
            .for_each(|(image, (y, tokens))| {
                let (first, others) = y.split_at_mut(self.d_model);
                first.copy_from_slice(class);
                others.copy_from_slice(tokens);
                add(y, positions);
                if let Some(mask) = self.dropout {
                    mask.apply(image * self.image_len, y);
                }
            });
        y
    }

    /// Gradient of the tokens.
    pub fn grad_tokens(&self, grad_output: &[f32]) -> Vec<f32> {
        let tokens_len = self.image_len - self.d_model;
        let mut out = vec![0.0; grad_output.len() / self.image_len * tokens_len];
        out.par_chunks_exact_mut(tokens_len)
            .zip(grad_output.par_chunks_exact(self.image_len))
            .enumerate()
            .for_each(|(image, (out, grad_output))| {
                out.copy_from_slice(&grad_output[self.d_model..]);
                if let Some(mask) = self.dropout {
                    mask.apply(image * self.image_len + self.d_model, out);
                }
            });
        out
    }

    /// Gradient of the positions; its first token is the gradient of the class token as well.
    pub fn grad_positions(&self, grad_output: &[f32]) -> Vec<f32> {
        const CHUNK: usize = 4096;
        let mut sums = vec![0.0; self.image_len];
        sums.par_chunks_mut(CHUNK)
            .enumerate()
            .for_each_init(Vec::new, |masked, (chunk, sums)| {
                for first in (chunk * CHUNK..grad_output.len()).step_by(self.image_len) {
                    masked.clear();
                    masked.extend_from_slice(&grad_output[first..first + sums.len()]);
                    if let Some(mask) = self.dropout {
                        mask.apply(first, masked);
                    }
                    add(sums, masked);
                }
            });
        sums
    }
}

//! The tokens of images, made ready for a Transformer: a class token is put before them, their
//! positions are added, some numbers are dropped. Gradients go the way back.

use rayon::prelude::*;

use crate::{dropout::DropoutMask, row_ops::add};

/// Sizes of the result.
#[derive(Clone, Copy, Debug)]
pub struct Embedding {
    /// Numbers of an image, the class token's among them.
    pub image_len: usize,
    /// Numbers of a token.
    pub d_model: usize,
    /// Dropout of the result.
    pub dropout: Option<DropoutMask>,
}

impl Embedding {
    /// `drop([class; tokens] + positions)`.
    pub fn forward(&self, tokens: &[f32], class: &[f32], positions: &[f32]) -> Vec<f32> {
        let own = self.image_len - self.d_model;
        let mut y = vec![0.0; tokens.len() / own * self.image_len];
        y.par_chunks_exact_mut(self.image_len)
            .zip(tokens.par_chunks_exact(own))
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
    pub fn grad_tokens(&self, gradient: &[f32]) -> Vec<f32> {
        let own = self.image_len - self.d_model;
        let mut out = vec![0.0; gradient.len() / self.image_len * own];
        out.par_chunks_exact_mut(own)
            .zip(gradient.par_chunks_exact(self.image_len))
            .enumerate()
            .for_each(|(image, (out, gradient))| {
                out.copy_from_slice(&gradient[self.d_model..]);
                if let Some(mask) = self.dropout {
                    mask.apply(image * self.image_len + self.d_model, out);
                }
            });
        out
    }

    /// Gradient of the positions; its first token's is the class token's, too.
    pub fn grad_positions(&self, gradient: &[f32]) -> Vec<f32> {
        const CHUNK: usize = 4096;
        let mut sums = vec![0.0; self.image_len];
        sums.par_chunks_mut(CHUNK)
            .enumerate()
            .for_each_init(Vec::new, |masked, (chunk, sums)| {
                for first in (chunk * CHUNK..gradient.len()).step_by(self.image_len) {
                    masked.clear();
                    masked.extend_from_slice(&gradient[first..first + sums.len()]);
                    if let Some(mask) = self.dropout {
                        mask.apply(first, masked);
                    }
                    add(sums, masked);
                }
            });
        sums
    }
}

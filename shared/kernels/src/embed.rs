//! The tokens of images, made ready for a Transformer: a class token is put before them, their
//! positions are added, some numbers are dropped. Gradients go the way back.

use rayon::prelude::*;

use super::{mask::DropoutMask, rows::add};

/// Sizes of the result.
#[derive(Clone, Copy, Debug)]
pub struct Embed {
    /// Numbers of an image, the class token's among them.
    pub piece: usize,
    /// Numbers of a token.
    pub width: usize,
    /// Dropout of the result.
    pub mask: Option<DropoutMask>,
}

impl Embed {
    /// `drop([class; tokens] + positions)`.
    pub fn forward(&self, tokens: &[f32], class: &[f32], positions: &[f32]) -> Vec<f32> {
        let own = self.piece - self.width;
        let mut y = vec![0.0; tokens.len() / own * self.piece];
        y.par_chunks_exact_mut(self.piece)
            .zip(tokens.par_chunks_exact(own))
            .enumerate()
            .for_each(|(picture, (y, tokens))| {
                let (first, others) = y.split_at_mut(self.width);
                first.copy_from_slice(class);
                others.copy_from_slice(tokens);
                add(y, positions);
                if let Some(mask) = self.mask {
                    mask.apply(picture * self.piece, y);
                }
            });
        y
    }

    /// Gradient of the tokens.
    pub fn of_tokens(&self, gradient: &[f32]) -> Vec<f32> {
        let own = self.piece - self.width;
        let mut out = vec![0.0; gradient.len() / self.piece * own];
        out.par_chunks_exact_mut(own)
            .zip(gradient.par_chunks_exact(self.piece))
            .enumerate()
            .for_each(|(picture, (out, gradient))| {
                out.copy_from_slice(&gradient[self.width..]);
                if let Some(mask) = self.mask {
                    mask.apply(picture * self.piece + self.width, out);
                }
            });
        out
    }

    /// Gradient of the positions; its first token's is the class token's, too.
    pub fn of_positions(&self, gradient: &[f32]) -> Vec<f32> {
        const CHUNK: usize = 4096;
        let mut sums = vec![0.0; self.piece];
        sums.par_chunks_mut(CHUNK)
            .enumerate()
            .for_each_init(Vec::new, |masked, (chunk, sums)| {
                for first in (chunk * CHUNK..gradient.len()).step_by(self.piece) {
                    masked.clear();
                    masked.extend_from_slice(&gradient[first..first + sums.len()]);
                    if let Some(mask) = self.mask {
                        mask.apply(first, masked);
                    }
                    add(sums, masked);
                }
            });
        sums
    }
}

//! The default architecture in f64, of candle's own operations.
//!
//! An attack is many steps, and a ReLU within a millionth of zero turns a difference in the last
//! bit of one step into other iterates later. So iterates can only be compared in much higher
//! precision than PyTorch's f32. That our own kernels compute the same model is tested elsewhere, in
//! values and in gradients.

use std::collections::BTreeMap;

use base::Result;
use candle_core::{D, DType, Tensor};
use nn::model::{Classifier, Features, Weights};

/// Blocks of each stage.
const BLOCKS: [usize; 4] = [3, 4, 6, 3];

/// The default architecture in evaluation mode.
pub struct F64Model(BTreeMap<String, Tensor>);

impl F64Model {
    pub fn new(weights: &Weights) -> Self {
        let double = |tensor: &Tensor| tensor.to_dtype(DType::F64).unwrap();
        let tensors = weights.tensors().iter();
        Self(tensors.map(|(name, t)| (name.clone(), double(t))).collect())
    }

    /// A convolution and its normalization, channels first.
    fn layer(&self, x: &Tensor, conv: &str, norm: &str, stride: usize) -> Result<Tensor> {
        let weight = &self.0[&format!("{conv}.weight")];
        let channel = |part: &str| self.0[&format!("{norm}.{part}")].reshape((1, (), 1, 1));
        let x = x.conv2d(weight, weight.dim(2)? / 2, stride, 1, 1)?;
        let deviation = (channel("running_var")? + 1e-5)?.sqrt()?;
        Ok(x.broadcast_sub(&channel("running_mean")?)?
            .broadcast_div(&deviation)?
            .broadcast_mul(&channel("weight")?)?
            .broadcast_add(&channel("bias")?)?)
    }

    fn block(&self, x: &Tensor, name: &str, stride: usize) -> Result<Tensor> {
        let at = |part: &str| format!("{name}.{part}");
        let inner = self.layer(x, &at("conv1"), &at("bn1"), stride)?.relu()?;
        let outer = self.layer(&inner, &at("conv2"), &at("bn2"), 1)?;
        let beside = match self.0.contains_key(&at("shortcut.0.weight")) {
            true => self.layer(x, &at("shortcut.0"), &at("shortcut.1"), stride)?,
            false => x.clone(),
        };
        Ok((outer + beside)?.relu()?)
    }
}

impl Classifier for F64Model {
    fn features(&self, images: &Tensor) -> Result<Features> {
        let mut x = images.to_dtype(DType::F64)?;
        x = self.layer(&x, "conv1", "bn1", 1)?.relu()?;
        let mut maps = vec![x.clone()];
        for (stage, blocks) in BLOCKS.into_iter().enumerate() {
            for block in 0..blocks {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                x = self.block(&x, &format!("layer{}.{block}", stage + 1), stride)?;
            }
            maps.push(x.clone());
        }
        let pooled = x.flatten_from(2)?.mean(D::Minus1)?;
        let logits = pooled
            .matmul(&self.0["linear.weight"].t()?)?
            .broadcast_add(&self.0["linear.bias"])?;
        let single = |map: &Tensor| Ok(map.permute((0, 2, 3, 1))?.to_dtype(DType::F32)?);
        Ok(Features {
            logits: logits.to_dtype(DType::F32)?,
            maps: maps.iter().map(single).collect::<Result<_>>()?,
        })
    }
}

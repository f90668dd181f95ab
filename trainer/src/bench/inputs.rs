//! What is measured on: a width, a batch size and a device come in; a model, images and labels go
//! out, always the same.
//!
//! An untrained model would not do: it takes all images for one class, which it hardly ever leaves.
//! A trained one would take minutes. So a fresh model is made to behave like a trained one: its
//! running statistics are those of its images, its logits spread over all classes, its labels are
//! its own predictions, and most of its ReLUs stay on the side they are on near an image. DeepFool
//! then needs one or two steps, and C&W some fifty of its hundred.
//!
//! No image is as dark or bright as can be: a pixel that may not go on keeps DeepFool from crossing
//! the last hair's breadth to a boundary, and its rounding decides whether five steps or fifty end
//! it.

use attacks::{AttackBatch, StyleSource, quantize};
use base::Result;
use candle_core::{Device, Tensor};
use data::{CLASSES, IMAGE_BYTES, synthetic::draw};
use nn::model::{Classifier, FrozenResNet34, Metadata, ResNet34, Weights, predicted_classes};

use crate::batch::TrainBatch;

/// Images are chosen from twice as many, and those from so many at least: what the model is must not
/// depend on how many are measured.
const LEAST: usize = 64;
/// Weight of a block's second norm, and bias of every norm. A large bias keeps ReLUs open.
const GAIN: f64 = 0.3;
const BIAS: f64 = 0.5;
/// How far the largest logit lies ahead of the next on average.
const MARGIN: f64 = 2.0;

/// A model, images and labels.
pub struct Inputs {
    /// The model's channels.
    pub width: usize,
    /// Where all of it lives.
    pub device: Device,
    /// The model in evaluation mode.
    pub net: FrozenResNet34,
    /// `[B,3,32,32]` in `[0,1]`.
    pub images: Tensor,
    /// What the model takes them for.
    pub labels: Vec<u8>,
    /// The images' bytes.
    pixels: Vec<u8>,
    ids: Vec<u64>,
    weights: Weights,
}

impl Inputs {
    /// Makes them.
    pub fn new(width: usize, batch: usize, device: &Device) -> Result<Self> {
        let pictures = drawn(2 * batch.max(LEAST), device)?;
        let weights = spread_out(&calibrated(width, &pictures)?, &pictures)?;
        let net = ResNet34::new("the model", weights.clone())?.frozen()?;
        let rows = clearest(&net.logits(&pictures)?.to_vec2()?, batch);
        let images = pictures.index_select(&Tensor::new(rows, device)?, 0)?;
        Ok(Self {
            width,
            device: device.clone(),
            labels: predicted_classes(&net.logits(&images)?)?,
            ids: (0..).take(batch).collect(),
            pixels: quantize::round(&images.flatten_all()?.to_vec1()?),
            images,
            net,
            weights,
        })
    }

    /// A copy of the model that may learn.
    pub fn learner(&self) -> Result<ResNet34> {
        let net = ResNet34::init(self.width, 0, &self.device)?;
        net.weights().set(&self.weights)?;
        Ok(net)
    }

    /// What a training step sees; every other image is said to be attacked.
    pub fn batch(&self) -> TrainBatch {
        TrainBatch {
            images: self.images.clone(),
            labels: self.labels.clone(),
            variants: (0..self.labels.len()).map(|row| row % 2).collect(),
            attacked: (0..self.labels.len()).map(|row| row % 2 == 1).collect(),
            step: 0,
        }
    }

    /// What an attack sees; the style of each image is the next one.
    pub fn attack_batch(&self) -> Result<AttackBatch<'_>> {
        let batch = AttackBatch::new(&self.pixels, &self.labels, &self.ids, 0, &self.device)?;
        Ok(batch.with_styles(self))
    }

    /// The model's tensors as `net.NAME`, with `images` and `labels`, all of them f32, as a safetensors file.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        let labels: Vec<f32> = self.labels.iter().copied().map(f32::from).collect();
        let net = self.weights.tensors().iter();
        let net = net.map(|(name, tensor)| (format!("net.{name}"), tensor.clone()));
        let others = [
            ("images".to_string(), self.images.clone()),
            ("labels".to_string(), Tensor::new(labels, &Device::Cpu)?),
        ];
        let all: Weights = net.chain(others).collect();
        all.bytes(&Metadata::new())
    }
}

impl StyleSource for Inputs {
    fn style(&self, _: u64, id: u64, _: u8) -> Result<Vec<u8>> {
        let next = (id as usize + 1) % self.ids.len();
        Ok(self.pixels[next * IMAGE_BYTES..(next + 1) * IMAGE_BYTES].to_vec())
    }
}

/// Drawn images of bytes, class by class in turn, from 0.1 to 0.9.
fn drawn(count: usize, device: &Device) -> Result<Tensor> {
    let bytes = (0..count).flat_map(|index| draw(0, index as u64, (index % CLASSES) as u8));
    let floats: Vec<f32> = bytes
        .map(|byte| 0.1 + 0.8 * f32::from(byte) / 255.0)
        .collect();
    quantize::to_tensor(&quantize::round(&floats), device)
}

/// A fresh model whose norms are set as above and whose running statistics are the images' own.
fn calibrated(width: usize, pictures: &Tensor) -> Result<Weights> {
    let fresh = ResNet34::init(width, 0, pictures.device())?;
    let started = changed(&fresh.weights().frozen(), |name, old| {
        Ok(if name.contains("running_") {
            old.zeros_like()?
        } else if name.ends_with("bn2.weight") {
            (old.ones_like()? * GAIN)?
        } else if name.ends_with(".bias") && name != "linear.bias" {
            (old.ones_like()? * BIAS)?
        } else {
            old.clone()
        })
    })?;
    let net = ResNet34::new("the model", started)?;
    net.train(pictures)?;
    // From 0 the statistics have come a tenth of the way.
    changed(net.weights(), |name, old| {
        Ok(if name.contains("running_") {
            (old * 10.0)?
        } else {
            old.clone()
        })
    })
}

/// Shifts and scales the classes so that over the images each logit has mean 0 and the same
/// spread, and the largest lies ahead of the next by [`MARGIN`] on average.
fn spread_out(weights: &Weights, pictures: &Tensor) -> Result<Weights> {
    let net = ResNet34::new("the model", weights.clone())?.frozen()?;
    let logits = net.logits(pictures)?;
    let mean = logits.mean_keepdim(0)?;
    let centerd = logits.broadcast_sub(&mean)?;
    let deviation = centerd.sqr()?.mean_keepdim(0)?.sqrt()?;
    let rows: Vec<Vec<f32>> = centerd.broadcast_div(&deviation)?.to_vec2()?;
    let scale = MARGIN * rows.len() as f64 / rows.iter().map(|row| lead(row)).sum::<f64>();
    let scales = (deviation.recip()?.flatten_all()? * scale)?;
    changed(weights, |name, old| {
        Ok(match name {
            "linear.weight" => old.broadcast_mul(&scales.unsqueeze(1)?)?,
            "linear.bias" => ((old - mean.flatten_all()?)? * &scales)?,
            _ => old.clone(),
        })
    })
}

/// How far the largest logit lies ahead of the next.
fn lead(logits: &[f32]) -> f64 {
    let mut sorted = logits.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    f64::from(sorted[0] - sorted[1])
}

/// The first `count` images of the half whose class is clearest. Close to a boundary DeepFool's
/// steps, and its overshoot with them, may be less than a float can hold, and never end.
fn clearest(logits: &[Vec<f32>], count: usize) -> Vec<u32> {
    let mut rows: Vec<u32> = (0..).take(logits.len()).collect();
    rows.sort_by(|&a, &b| {
        let [a, b] = [a, b].map(|row| lead(&logits[row as usize]));
        b.total_cmp(&a)
    });
    rows.truncate(logits.len() / 2);
    rows.sort_unstable();
    rows.truncate(count);
    rows
}

/// The tensors with `change` done to each.
fn changed(weights: &Weights, change: impl Fn(&str, &Tensor) -> Result<Tensor>) -> Result<Weights> {
    let tensors = weights.tensors().iter();
    tensors
        .map(|(name, old)| Ok((name.clone(), change(name, old)?)))
        .collect()
}

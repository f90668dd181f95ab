//! Inputs of the benchmarks: a calibrated model ([`nn::model::calibrated`]), synthetic images, and the model's own
//! predictions as labels; the same at every run. DeepFool needs one or two steps on them, and C&W some fifty of
//! its hundred.
//!
//! No pixel is 0 or 1: one that can go no further keeps DeepFool from crossing the last distance to a boundary,
//! and rounding decides whether five steps or fifty end it.

use attacks::{AttackBatch, StyleSource, quantize};
use base::Result;
use candle_core::{Device, Tensor};
use data::{
    IMAGE_BYTES,
    synthetic::{SHAPES, draw},
};
use nn::{
    ComputeDevice, CropWindow,
    model::{
        Architecture, Classifier, Metadata, ModelDescription, Network, Weights, calibrated,
        predicted_classes, top2_margin,
    },
};

use crate::batch::TrainBatch;

/// The model is calibrated on at least twice as many images, so that it does not depend on small batch sizes.
const MIN_IMAGES: usize = 64;

/// A model, images and labels.
pub struct BenchInputs {
    /// The model's architecture and size.
    pub description: ModelDescription,
    /// Device of the model and the images.
    pub device: ComputeDevice,
    /// The model in evaluation mode.
    pub model: Box<dyn Classifier>,
    /// `[B,3,32,32]` in `[0,1]`.
    pub images: Tensor,
    /// The model's predictions.
    pub labels: Vec<u8>,
    /// The images' bytes.
    pixels: Vec<u8>,
    ids: Vec<u64>,
    architecture: &'static Architecture,
    weights: Weights,
}

impl BenchInputs {
    /// Synthetic images and a model that is calibrated on them.
    pub fn new(
        architecture: &'static Architecture,
        width: usize,
        batch: usize,
        device: &ComputeDevice,
    ) -> Result<Self> {
        let candidates = synthetic_images(2 * batch.max(MIN_IMAGES), device)?;
        let weights = calibrated(architecture, width, SHAPES.len(), &candidates, device)?;
        let network = architecture.load("the model", weights.clone())?;
        let model = network.eval()?;
        let rows = clearest(&model.logits(&candidates)?.to_vec2()?, batch);
        let images = candidates.index_select(&Tensor::new(rows, device)?, 0)?;
        Ok(Self {
            architecture,
            description: network.describe(),
            device: device.clone(),
            labels: predicted_classes(&model.logits(&images)?)?,
            ids: (0..).take(batch).collect(),
            pixels: quantize::round(&images.flatten_all()?.to_vec1()?),
            images,
            model,
            weights,
        })
    }

    /// A trainable copy of the model.
    pub fn trainable(&self) -> Result<Box<dyn Network>> {
        let ModelDescription { width, classes, .. } = self.description;
        let net = self.architecture.init(width, classes, 0, &self.device)?;
        net.weights().set(&self.weights)?;
        Ok(net)
    }

    /// A training batch in which every other image counts as adversarial.
    pub fn batch(&self) -> TrainBatch {
        TrainBatch {
            images: self.images.clone(),
            labels: self.labels.clone(),
            variants: (0..self.labels.len()).map(|row| row % 2).collect(),
            attacked: (0..self.labels.len()).map(|row| row % 2 == 1).collect(),
            ids: self.ids.clone(),
            rows: (0..self.labels.len()).collect(),
            windows: vec![CropWindow::WHOLE; self.labels.len()],
            epoch: 0,
            step: 0,
            schedule_step: 0,
        }
    }

    /// What an attack sees; the style of each image is the next one.
    pub fn attack_batch(&self) -> Result<AttackBatch<'_>> {
        let batch = AttackBatch::new(&self.pixels, &self.labels, &self.ids, 0, &self.device)?;
        Ok(batch.with_styles(self))
    }

    /// What an evaluation attack sees.
    pub fn evaluation_batch(&self) -> Result<robustness::Batch> {
        Ok(robustness::Batch {
            clean: self.images.flatten_all()?.to_vec1()?,
            labels: self.labels.clone(),
            ids: self.ids.clone(),
        })
    }

    /// The model's tensors as `net.NAME`, with `images` and `labels`, all of them f32, as a safetensors file.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        let labels: Vec<f32> = self.labels.iter().copied().map(f32::from).collect();
        let model = self.weights.tensors().iter();
        let model = model.map(|(name, tensor)| (format!("net.{name}"), tensor.clone()));
        let others = [
            ("images".to_string(), self.images.clone()),
            ("labels".to_string(), Tensor::new(labels, &Device::Cpu)?),
        ];
        let all: Weights = model.chain(others).collect();
        all.bytes(&Metadata::new())
    }
}

impl StyleSource for BenchInputs {
    fn style(&self, _: u64, id: u64, _: u8) -> Result<Vec<u8>> {
        let next = (id as usize + 1) % self.ids.len();
        Ok(self.pixels[next * IMAGE_BYTES..(next + 1) * IMAGE_BYTES].to_vec())
    }
}

/// Synthetic images of bytes, the classes in turn, from 0.1 to 0.9.
fn synthetic_images(count: usize, device: &Device) -> Result<Tensor> {
    let bytes = (0..count).flat_map(|index| draw(0, index as u64, (index % SHAPES.len()) as u8));
    let floats: Vec<f32> = bytes
        .map(|byte| 0.1 + 0.8 * f32::from(byte) / 255.0)
        .collect();
    quantize::to_tensor(&quantize::round(&floats), device)
}

/// The first `count` images of the half with the largest margins. Close to a boundary DeepFool's steps, and its
/// overshoot with them, may be less than a float can represent, and never end.
fn clearest(logits: &[Vec<f32>], count: usize) -> Vec<u32> {
    let mut rows: Vec<u32> = (0..).take(logits.len()).collect();
    rows.sort_by(|&a, &b| {
        let [a, b] = [a, b].map(|row| top2_margin(&logits[row as usize]));
        b.total_cmp(&a)
    });
    rows.truncate(logits.len() / 2);
    rows.sort_unstable();
    rows.truncate(count);
    rows
}

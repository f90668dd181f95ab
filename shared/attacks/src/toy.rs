//! Small models and images for tests: every product and sum is one image's own, so that not
//! one bit depends on the batch.

use candle_core::{Device, Tensor};

use super::{AttackBatch, gradient, logits, quantize};
use base::{Result, random::Stream};
use data::{CLASSES, IMAGE_BYTES};
use nn::model::{Classifier, Features};

/// Layers with tanh between them; no layer is a model that ignores its input.
pub struct Toy {
    layers: Vec<Tensor>,
    bias: Tensor,
}

impl Toy {
    /// One layer with these `[10, PIXELS]` weights and biases.
    pub fn linear(weights: Vec<f32>, bias: &[f32; CLASSES]) -> Self {
        let layer = matrix(weights, CLASSES, IMAGE_BYTES);
        Self {
            layers: vec![layer],
            bias: Tensor::new(&[*bias], &Device::Cpu).unwrap(),
        }
    }

    /// One random layer.
    pub fn random_linear(seed: u64) -> Self {
        Self::linear(weights(seed, IMAGE_BYTES, CLASSES, 20.0), &[0.0; CLASSES])
    }

    /// Two random layers.
    pub fn mlp(seed: u64) -> Self {
        const HIDDEN: usize = 12;
        Self {
            layers: vec![
                matrix(weights(seed, IMAGE_BYTES, HIDDEN, 2.0), HIDDEN, IMAGE_BYTES),
                matrix(weights(seed + 1, HIDDEN, CLASSES, 16.0), CLASSES, HIDDEN),
            ],
            bias: Tensor::zeros((1, CLASSES), candle_core::DType::F32, &Device::Cpu).unwrap(),
        }
    }

    /// The same logits for every image.
    pub fn constant(bias: &[f32; CLASSES]) -> Self {
        Self {
            layers: Vec::new(),
            bias: Tensor::new(&[*bias], &Device::Cpu).unwrap(),
        }
    }

    /// The same model with these numbers added to its logits.
    pub fn plus(mut self, bias: &[f32; CLASSES]) -> Self {
        self.bias = (self.bias + Tensor::new(&[*bias], &Device::Cpu).unwrap()).unwrap();
        self
    }

    /// What it takes images for.
    pub fn classes(&self, bytes: &[u8]) -> Vec<u8> {
        let images = quantize::to_tensor(bytes, &Device::Cpu).unwrap();
        let ids = vec![0; bytes.len() / IMAGE_BYTES];
        let rows = logits::rows(&self.logits(&images).unwrap(), &ids).unwrap();
        rows.iter().map(logits::predicted).collect()
    }
}

impl Classifier for Toy {
    fn features(&self, images: &Tensor) -> Result<Features> {
        let stage1 = (images + images.sqr()?)?;
        let channels_last = |map: &Tensor| map.permute((0, 2, 3, 1))?.contiguous();
        let pooled =
            |size: usize| -> Result<Tensor> { Ok(channels_last(&stage1.avg_pool2d(size)?)?) };
        Ok(Features {
            maps: [
                channels_last(images)?,
                channels_last(&stage1)?,
                pooled(2)?,
                pooled(4)?,
                pooled(8)?,
            ],
            logits: self.logits(images)?,
        })
    }

    fn logits(&self, images: &Tensor) -> Result<Tensor> {
        let mut values = (images.flatten_from(1)? - 0.5)?;
        for (depth, layer) in self.layers.iter().enumerate() {
            if depth > 0 {
                values = values.tanh()?;
            }
            // A product for each image, with weights of its own: `broadcast_matmul` would make
            // one of them all, whose order of additions depends on how many there are.
            let shape = (values.dim(0)?, layer.dim(0)?, layer.dim(1)?);
            let layers = layer.broadcast_as(shape)?.contiguous()?;
            values = values.unsqueeze(1)?.matmul(&layers)?.squeeze(1)?;
        }
        if self.layers.is_empty() {
            return Ok(self
                .bias
                .broadcast_as((images.dim(0)?, CLASSES))?
                .contiguous()?);
        }
        Ok(values.broadcast_add(&self.bias)?)
    }
}

/// `[outputs, inputs]` weights as a matrix to multiply rows with.
fn matrix(weights: Vec<f32>, outputs: usize, inputs: usize) -> Tensor {
    let weights = Tensor::from_vec(weights, (outputs, inputs), &Device::Cpu).unwrap();
    weights.t().unwrap().contiguous().unwrap()
}

/// Cubes of normal numbers: as in a real model's gradients, few weights matter and most hardly do.
fn weights(seed: u64, inputs: usize, outputs: usize, gain: f64) -> Vec<f32> {
    let mut stream = Stream::new(seed, "toy weights", &[]);
    // The sixth moment of a normal number is 15.
    let scale = gain / (15.0 * inputs as f64).sqrt();
    (0..inputs * outputs)
        .map(|_| (stream.normal().powi(3) * scale) as f32)
        .collect()
}

/// Random images of bytes, a few of them exactly 0 and 255.
pub fn pictures(count: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    for picture in 0..count {
        let mut stream = Stream::new(picture, "toy images", &[]);
        bytes.extend((0..IMAGE_BYTES).map(|_| (127.5 + 45.0 * stream.normal()) as u8));
    }
    bytes
}

/// Images, labels and ids that live as long as a test.
pub struct Lot {
    pub bytes: Vec<u8>,
    pub labels: Vec<u8>,
    pub ids: Vec<u64>,
}

impl Lot {
    /// Images with the labels that `net` gives them.
    pub fn of(net: &Toy, bytes: Vec<u8>) -> Self {
        let labels = net.classes(&bytes);
        let ids = (0..labels.len() as u64).map(|i| 100 + i).collect();
        Self { bytes, labels, ids }
    }

    /// Random images that `net` is as sure of as a trained one: each went 0.2 (L2) up the
    /// gradient of its margin.
    pub fn sure(net: &Toy, count: u64) -> Self {
        let mut lot = Self::of(net, pictures(count));
        let images = lot.batch().images;
        let pixels = gradient::variable(&images).unwrap();
        let logits = net.logits(&pixels).unwrap();
        let slopes: Vec<_> = std::iter::zip(logits::rows(&logits, &lot.ids).unwrap(), &lot.labels)
            .map(|(row, &l)| [(l.into(), 1.0), (logits::runner_up(&row, l), -1.0)])
            .collect();
        let slope = logits::slopes(&slopes, &Device::Cpu).unwrap();
        let up = gradient::pull_back(&pixels, &logits, &slope, &lot.ids).unwrap();
        let up = up.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for (picture, up) in lot
            .bytes
            .chunks_exact_mut(IMAGE_BYTES)
            .zip(up.chunks_exact(IMAGE_BYTES))
        {
            let length = up.iter().map(|g| g * g).sum::<f32>().sqrt();
            for (byte, g) in picture.iter_mut().zip(up) {
                *byte = (f32::from(*byte) + 0.2 * 255.0 * g / length).round() as u8;
            }
        }
        Self::of(net, lot.bytes)
    }

    /// The same images in this order, or some of them.
    pub fn rows(&self, rows: &[usize]) -> Self {
        let picture = |row: usize| {
            self.bytes[row * IMAGE_BYTES..(row + 1) * IMAGE_BYTES]
                .iter()
                .copied()
        };
        Self {
            bytes: rows.iter().flat_map(|&row| picture(row)).collect(),
            labels: rows.iter().map(|&row| self.labels[row]).collect(),
            ids: rows.iter().map(|&row| self.ids[row]).collect(),
        }
    }

    /// As a batch; the styles are the images upside down, so each image has its own.
    pub fn batch(&self) -> AttackBatch<'_> {
        let images = quantize::to_tensor(&self.bytes, &Device::Cpu).unwrap();
        let styles: Vec<u8> = self
            .bytes
            .chunks_exact(IMAGE_BYTES)
            .flat_map(|picture| picture.iter().rev().map(|byte| byte / 2 + 60))
            .collect();
        AttackBatch {
            images,
            styles: quantize::to_tensor(&styles, &Device::Cpu).unwrap(),
            labels: &self.labels,
            ids: &self.ids,
            seed: 11,
        }
    }
}

//! Small models and images for tests. Every product and sum belongs to one image, so that no bit
//! of a result depends on the batch.

use candle_core::{Device, Tensor};

use crate::{AttackBatch, StyleSource, gradient, logits, quantize};
use base::{Result, random::Stream};
use data::IMAGE_BYTES;
use nn::model::{Classifier, Features};

/// Classes of a [`TestModel`].
pub const CLASSES: usize = 10;

/// A linear model or a multilayer perceptron with tanh; without layers it ignores its input.
pub struct TestModel {
    layers: Vec<Tensor>,
    bias: Tensor,
}

impl TestModel {
    /// One layer with these `[CLASSES, IMAGE_BYTES]` weights and biases.
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

    /// Its predictions.
    pub fn predict(&self, bytes: &[u8]) -> Vec<u8> {
        let images = quantize::to_tensor(bytes, &Device::Cpu).unwrap();
        let count = bytes.len() / IMAGE_BYTES;
        let logits = self.logits(&images).unwrap();
        let rows = logits::rows(&logits, &vec![0; count], &vec![0; count]).unwrap();
        rows.iter().map(|row| logits::argmax(row)).collect()
    }
}

impl Classifier for TestModel {
    fn features(&self, images: &Tensor) -> Result<Features> {
        let stage1 = (images + images.sqr()?)?;
        let channels_last = |map: &Tensor| map.permute((0, 2, 3, 1))?.contiguous();
        let pooled =
            |size: usize| -> Result<Tensor> { Ok(channels_last(&stage1.avg_pool2d(size)?)?) };
        Ok(Features {
            maps: vec![
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
            // One matrix product per image: `broadcast_matmul` would make one of the whole batch,
            // whose order of additions depends on the batch size.
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

/// Cubes of normal numbers: heavy-tailed, as the gradients of a trained model are.
fn weights(seed: u64, inputs: usize, outputs: usize, gain: f64) -> Vec<f32> {
    let mut stream = Stream::new(seed, "toy weights", &[]);
    // The sixth moment of a normal number is 15.
    let scale = gain / (15.0 * inputs as f64).sqrt();
    (0..inputs * outputs)
        .map(|_| (stream.normal().powi(3) * scale) as f32)
        .collect()
}

/// Random images of bytes, some of them exactly 0 and 255.
pub fn random_images(count: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    for image in 0..count {
        let mut stream = Stream::new(image, "toy images", &[]);
        bytes.extend((0..IMAGE_BYTES).map(|_| (127.5 + 45.0 * stream.normal()) as u8));
    }
    bytes
}

/// Owned images, labels and ids of a batch.
pub struct TestBatch {
    pub bytes: Vec<u8>,
    pub labels: Vec<u8>,
    pub ids: Vec<u64>,
}

impl TestBatch {
    /// Images with the labels that `model` predicts.
    pub fn of(model: &TestModel, bytes: Vec<u8>) -> Self {
        let labels = model.predict(&bytes);
        let ids = (0..labels.len() as u64).map(|i| 100 + i).collect();
        Self { bytes, labels, ids }
    }

    /// Random images with margins as large as a trained model's: each moved by 0.2 (L2) along the
    /// gradient of its margin.
    pub fn confident(model: &TestModel, count: u64) -> Self {
        let mut test = Self::of(model, random_images(count));
        let pixels = gradient::variable(test.batch().images()).unwrap();
        let logits = model.logits(&pixels).unwrap();
        let rows = logits::rows(&logits, &test.ids, &test.labels).unwrap();
        let grads: Vec<_> = std::iter::zip(rows, &test.labels)
            .map(|(row, &l)| [(l.into(), 1.0), (logits::runner_up(&row, l), -1.0)])
            .collect();
        let grad_logits = logits::sparse_grad(&grads, CLASSES, &Device::Cpu).unwrap();
        let up = gradient::vjp(&pixels, &logits, &grad_logits, &test.ids).unwrap();
        let up = up.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for (image, up) in test
            .bytes
            .chunks_exact_mut(IMAGE_BYTES)
            .zip(up.chunks_exact(IMAGE_BYTES))
        {
            let length = up.iter().map(|g| g * g).sum::<f32>().sqrt();
            for (byte, g) in image.iter_mut().zip(up) {
                *byte = (f32::from(*byte) + 0.2 * 255.0 * g / length).round() as u8;
            }
        }
        Self::of(model, test.bytes)
    }

    /// The same images in this order, or some of them.
    pub fn rows(&self, rows: &[usize]) -> Self {
        let image = |row: usize| {
            self.bytes[row * IMAGE_BYTES..(row + 1) * IMAGE_BYTES]
                .iter()
                .copied()
        };
        Self {
            bytes: rows.iter().flat_map(|&row| image(row)).collect(),
            labels: rows.iter().map(|&row| self.labels[row]).collect(),
            ids: rows.iter().map(|&row| self.ids[row]).collect(),
        }
    }

    /// As a batch with [`StyleSource`].
    pub fn batch(&self) -> AttackBatch<'_> {
        let (labels, ids) = (&self.labels, &self.ids);
        AttackBatch::new(&self.bytes, labels, ids, 11, &Device::Cpu)
            .unwrap()
            .with_styles(self)
    }
}

impl StyleSource for TestBatch {
    /// The image itself upside down and paler, so that each has its own style.
    fn style(&self, _: u64, id: u64, _: u8) -> Result<Vec<u8>> {
        let row = self.ids.iter().position(|&other| other == id).unwrap();
        let image = &self.bytes[row * IMAGE_BYTES..(row + 1) * IMAGE_BYTES];
        Ok(image.iter().rev().map(|byte| byte / 2 + 60).collect())
    }
}

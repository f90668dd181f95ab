//! ResNet34 in CIFAR form (He et al., "Deep residual learning", 2016; 3x3 stem, no pooling after
//! it): pixels come in, five feature maps and logits go out.

use candle_core::{D, Device, Tensor};

use super::{
    Classifier, Features,
    layers::{BatchNorm, Conv, Linear, Mode},
    weights::{Spec, Weights},
};
use crate::{Error, Result, cifar10::CLASSES};

/// The stem's channels in the paper's net; the stages have 1, 2, 4 and 8 times as many.
pub const PAPER_WIDTH: usize = 64;

/// Blocks of each stage.
const BLOCKS: [usize; 4] = [3, 4, 6, 3];

/// A classifier of any width.
#[derive(Clone, Debug)]
pub struct ResNet34 {
    width: usize,
    weights: Weights,
    stem: (Conv, BatchNorm),
    stages: [Vec<Block>; 4],
    linear: Linear,
}

/// Two 3x3 convolutions beside a shortcut.
#[derive(Clone, Debug)]
struct Block {
    first: (Conv, BatchNorm),
    second: (Conv, BatchNorm),
    shortcut: Option<(Conv, BatchNorm)>,
}

impl ResNet34 {
    /// A fresh net: PyTorch's initialisation, drawn from the seed.
    pub fn init(width: usize, seed: u64, device: &Device) -> Result<Self> {
        if width == 0 {
            return Err(Error::Usage("--width 0: a net needs a channel".into()));
        }
        Self::new("a fresh net", Weights::init(&specs(width), seed, device)?)
    }

    /// The net of these weights; the width is that of the stem. `what` names them in errors.
    ///
    /// # Errors
    /// [`Error::Data`] when a tensor is missing, misshapen or unknown.
    pub fn new(what: &str, weights: Weights) -> Result<Self> {
        let width = weights.dim("conv1.weight", 0);
        weights.check(what, &specs(width.max(1)))?;
        let pair = |conv: &str, norm: &str, stride, padding| -> Result<(Conv, BatchNorm)> {
            let conv = Conv::new(&weights, conv, stride, padding)?;
            Ok((conv, BatchNorm::new(&weights, norm)?))
        };
        let block = |place: &Place| -> Result<Block> {
            let at = |part: &str| format!("{}.{part}", place.name);
            Ok(Block {
                first: pair(&at("conv1"), &at("bn1"), place.stride, 1)?,
                second: pair(&at("conv2"), &at("bn2"), 1, 1)?,
                shortcut: place
                    .changes_shape()
                    .then(|| pair(&at("shortcut.0"), &at("shortcut.1"), place.stride, 0))
                    .transpose()?,
            })
        };
        let stage = |stage: usize| -> Result<Vec<Block>> {
            places(width, stage).iter().map(block).collect()
        };
        let stages = [stage(0)?, stage(1)?, stage(2)?, stage(3)?];
        Ok(Self {
            width,
            stem: pair("conv1", "bn1", 1, 1)?,
            stages,
            linear: Linear::new(&weights, "linear")?,
            weights,
        })
    }

    /// Channels of the stem.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The net's tensors.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Feature maps and logits of `[B,3,32,32]` pixels in `[0,1]`.
    pub fn forward(&self, images: &Tensor, mode: Mode) -> Result<Features> {
        let (conv, norm) = &self.stem;
        let stem = norm.forward(&conv.forward(images)?, None, true, mode)?;
        let stage = |x: &Tensor, blocks: &[Block]| {
            blocks
                .iter()
                .try_fold(x.clone(), |x, block| block.forward(&x, mode))
        };
        let [b1, b2, b3, b4] = &self.stages;
        let first = stage(&stem, b1)?;
        let second = stage(&first, b2)?;
        let third = stage(&second, b3)?;
        let fourth = stage(&third, b4)?;
        let pooled = fourth.flatten_from(2)?.mean_keepdim(D::Minus1)?;
        let logits = self.linear.forward_pixels(&pooled.unsqueeze(D::Minus1)?)?;
        Ok(Features {
            maps: [stem, first, second, third, fourth],
            logits,
        })
    }
}

impl Classifier for ResNet34 {
    fn features(&self, images: &Tensor) -> Result<Features> {
        self.forward(images, Mode::Evaluate)
    }
}

impl Block {
    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let (conv, norm) = &self.first;
        let inner = norm.forward(&conv.forward(x)?, None, true, mode)?;
        let shortcut = match &self.shortcut {
            None => x.clone(),
            Some((conv, norm)) => norm.forward(&conv.forward(x)?, None, false, mode)?,
        };
        let (conv, norm) = &self.second;
        norm.forward(&conv.forward(&inner)?, Some(&shortcut), true, mode)
    }
}

/// Where a block stands.
struct Place {
    name: String,
    c_in: usize,
    c_out: usize,
    stride: usize,
}

impl Place {
    fn changes_shape(&self) -> bool {
        self.stride != 1 || self.c_in != self.c_out
    }
}

/// The blocks of a stage, 0 to 3.
fn places(width: usize, stage: usize) -> Vec<Place> {
    let c_out = width << stage;
    let place = |block: usize| Place {
        name: format!("layer{}.{block}", stage + 1),
        c_in: if stage > 0 && block == 0 {
            c_out / 2
        } else {
            c_out
        },
        c_out,
        stride: if stage > 0 && block == 0 { 2 } else { 1 },
    };
    (0..BLOCKS[stage]).map(place).collect()
}

/// Every tensor of a net of this width.
pub fn specs(width: usize) -> Vec<Spec> {
    let mut specs = vec![Conv::spec("conv1", 3, width, 3)];
    specs.extend(BatchNorm::specs("bn1", width));
    for place in (0..BLOCKS.len()).flat_map(|stage| places(width, stage)) {
        let at = |part: &str| format!("{}.{part}", place.name);
        let mut pair = |conv: &str, norm: &str, c_in, kernel| {
            specs.push(Conv::spec(&at(conv), c_in, place.c_out, kernel));
            specs.extend(BatchNorm::specs(&at(norm), place.c_out));
        };
        pair("conv1", "bn1", place.c_in, 3);
        pair("conv2", "bn2", place.c_out, 3);
        if place.changes_shape() {
            pair("shortcut.0", "shortcut.1", place.c_in, 1);
        }
    }
    specs.extend(Linear::specs("linear", 8 * width, CLASSES));
    specs
}

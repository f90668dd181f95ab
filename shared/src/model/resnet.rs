//! ResNet34 in CIFAR form (He et al., "Deep residual learning", 2016; 3x3 stem, no pooling after
//! it): pixels come in, five feature maps and logits go out.

use candle_core::{D, Device, Tensor};

use super::{
    Classifier, Features,
    layers::{ConvNorm, Linear, Mode},
    spec::Spec,
    weights::Weights,
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
    stem: ConvNorm,
    stages: [Vec<Block>; 4],
    linear: Linear,
}

/// Two 3x3 convolutions beside a shortcut.
#[derive(Clone, Debug)]
struct Block {
    first: ConvNorm,
    second: ConvNorm,
    shortcut: Option<ConvNorm>,
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
        let block = |place: &Place| -> Result<Block> {
            let layer = |conv: &str, norm: &str, stride, padding| {
                let at = |part: &str| format!("{}.{part}", place.name);
                ConvNorm::new(&weights, (&at(conv), &at(norm)), stride, padding)
            };
            Ok(Block {
                first: layer("conv1", "bn1", place.stride, 1)?,
                second: layer("conv2", "bn2", 1, 1)?,
                shortcut: place
                    .changes_shape()
                    .then(|| layer("shortcut.0", "shortcut.1", place.stride, 0))
                    .transpose()?,
            })
        };
        let stage = |stage: usize| -> Result<Vec<Block>> {
            places(width, stage).iter().map(block).collect()
        };
        let stages = [stage(0)?, stage(1)?, stage(2)?, stage(3)?];
        Ok(Self {
            width,
            stem: ConvNorm::new(&weights, ("conv1", "bn1"), 1, 1)?,
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
        let stem = self.stem.forward(images, None, true, mode)?;
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
        let inner = self.first.forward(x, None, true, mode)?;
        let shortcut = match &self.shortcut {
            None => x.clone(),
            Some(shortcut) => shortcut.forward(x, None, false, mode)?,
        };
        self.second.forward(&inner, Some(&shortcut), true, mode)
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
    let mut specs = ConvNorm::specs(("conv1", "bn1"), 3, width, 3);
    for place in (0..BLOCKS.len()).flat_map(|stage| places(width, stage)) {
        let at = |part: &str| format!("{}.{part}", place.name);
        let mut layer = |conv: &str, norm: &str, c_in, kernel| {
            let names = (at(conv), at(norm));
            let names = (names.0.as_str(), names.1.as_str());
            specs.extend(ConvNorm::specs(names, c_in, place.c_out, kernel));
        };
        layer("conv1", "bn1", place.c_in, 3);
        layer("conv2", "bn2", place.c_out, 3);
        if place.changes_shape() {
            layer("shortcut.0", "shortcut.1", place.c_in, 1);
        }
    }
    specs.extend(Linear::specs("linear", 8 * width, CLASSES));
    specs
}

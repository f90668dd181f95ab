//! ResNet34 in CIFAR form (He et al., "Deep residual learning", 2016; 3x3 stem, no pooling after
//! it): pixels come in, five feature maps and logits go out.

use candle_core::{Device, Tensor};

use super::{
    Classifier, Features,
    layers::{ConvNorm, Layer, Linear},
    spec::Spec,
    weights::Weights,
};
use crate::{Error, Result, cifar10::CLASSES, nn::FrozenConvNorm};

/// The stem's channels in the paper's net; the stages have 1, 2, 4 and 8 times as many.
pub const PAPER_WIDTH: usize = 64;

/// Blocks of each stage.
const BLOCKS: [usize; 4] = [3, 4, 6, 3];

/// A classifier of any width that learns.
#[derive(Clone, Debug)]
pub struct ResNet34 {
    width: usize,
    weights: Weights,
    body: Body<ConvNorm>,
}

/// A classifier as it was when this was made, in evaluation mode.
#[derive(Clone, Debug)]
pub struct FrozenResNet34(Body<FrozenConvNorm>);

/// The layers, of a kind that learns or of one that does not.
#[derive(Clone, Debug)]
struct Body<L> {
    stem: L,
    stages: [Vec<Block<L>>; 4],
    linear: Linear,
}

/// Two 3x3 convolutions beside a shortcut.
#[derive(Clone, Debug)]
struct Block<L> {
    first: L,
    second: L,
    shortcut: Option<L>,
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
        let block = |place: &Place| -> Result<Block<ConvNorm>> {
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
        let stage = |stage: usize| -> Result<Vec<Block<ConvNorm>>> {
            places(width, stage).iter().map(block).collect()
        };
        Ok(Self {
            width,
            body: Body {
                stem: ConvNorm::new(&weights, ("conv1", "bn1"), 1, 1)?,
                stages: [stage(0)?, stage(1)?, stage(2)?, stage(3)?],
                linear: Linear::new(&weights, "linear")?,
            },
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

    /// Feature maps and logits of `[B,3,32,32]` pixels in `[0,1]`, in training mode: batch
    /// statistics are used and remembered.
    pub fn train(&self, images: &Tensor) -> Result<Features> {
        self.body.forward(images)
    }

    /// The net as it is now, in evaluation mode: running statistics, nothing learns.
    pub fn frozen(&self) -> Result<FrozenResNet34> {
        let block = |block: &Block<ConvNorm>| -> Result<Block<FrozenConvNorm>> {
            Ok(Block {
                first: block.first.frozen()?,
                second: block.second.frozen()?,
                shortcut: block.shortcut.as_ref().map(ConvNorm::frozen).transpose()?,
            })
        };
        let stage = |blocks: &[Block<ConvNorm>]| -> Result<Vec<Block<FrozenConvNorm>>> {
            blocks.iter().map(block).collect()
        };
        let [first, second, third, fourth] = &self.body.stages;
        Ok(FrozenResNet34(Body {
            stem: self.body.stem.frozen()?,
            stages: [stage(first)?, stage(second)?, stage(third)?, stage(fourth)?],
            linear: self.body.linear.frozen()?,
        }))
    }
}

impl Classifier for FrozenResNet34 {
    fn features(&self, images: &Tensor) -> Result<Features> {
        self.0.forward(images)
    }
}

impl<L: Layer> Body<L> {
    fn forward(&self, images: &Tensor) -> Result<Features> {
        let pixels = images.permute((0, 2, 3, 1))?.contiguous()?;
        let stem = self.stem.forward(&pixels, None, true)?;
        let stage = |x: &Tensor, blocks: &[Block<L>]| {
            blocks
                .iter()
                .try_fold(x.clone(), |x, block| block.forward(&x))
        };
        let [b1, b2, b3, b4] = &self.stages;
        let first = stage(&stem, b1)?;
        let second = stage(&first, b2)?;
        let third = stage(&second, b3)?;
        let fourth = stage(&third, b4)?;
        let pooled = fourth.flatten(1, 2)?.mean(1)?;
        Ok(Features {
            logits: self.linear.forward_pixels(&pooled)?,
            maps: [stem, first, second, third, fourth],
        })
    }
}

impl<L: Layer> Block<L> {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let inner = self.first.forward(x, None, true)?;
        let shortcut = match &self.shortcut {
            None => x.clone(),
            Some(shortcut) => shortcut.forward(x, None, false)?,
        };
        self.second.forward(&inner, Some(&shortcut), true)
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

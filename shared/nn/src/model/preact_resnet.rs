//! Pre-activation ResNets in their CIFAR form (He et al., "Identity mappings in deep residual networks", 2016), of
//! the crate's primitive operations; with a last normalization and ReLU, as in the paper.

use candle_core::Tensor;

use super::{
    Architecture, Classifier, Features, ModelDescription, Network, Normalization,
    layers::{BatchNorm, Linear, conv, conv_spec},
    normalization::InputLayer,
    resnet::{BlockConfig, IMAGE_SIZE, stage_blocks},
    spec::TensorSpec,
    weights::Weights,
};
use crate::Conv2d;
use base::Result;

/// The row of a network whose stages have A, B, C and D blocks.
pub const fn architecture<const A: usize, const B: usize, const C: usize, const D: usize>(
    name: &'static str,
    title: &'static str,
) -> Architecture {
    Architecture {
        name,
        title,
        stem: "conv1",
        head: "linear",
        specs: |width, classes| specs([A, B, C, D], width, classes),
        build: |description, weights| {
            let network = PreActResNet::new([A, B, C, D], description, weights)?;
            Ok(Box::new(network))
        },
    }
}

/// A network in training mode.
struct PreActResNet {
    description: ModelDescription,
    blocks: [usize; 4],
    weights: Weights,
    input: InputLayer,
    layers: Layers,
}

impl PreActResNet {
    fn new(blocks: [usize; 4], description: ModelDescription, weights: Weights) -> Result<Self> {
        let layers = Layers::new(blocks, description.width, &weights)?;
        Ok(Self {
            description,
            blocks,
            input: InputLayer::new(None, layers.stem.weight.device())?,
            weights,
            layers,
        })
    }
}

impl Network for PreActResNet {
    fn train(&self, images: &Tensor) -> Result<Features> {
        let pixels = self.input.forward(images)?;
        self.layers.features(&pixels, BatchNorm::train)
    }

    fn eval(&self) -> Result<Box<dyn Classifier>> {
        let weights = self.weights.copied()?;
        Ok(Box::new(EvalPreActResNet {
            input: self.input.clone(),
            layers: Layers::new(self.blocks, self.description.width, &weights)?,
        }))
    }

    fn weights(&self) -> &Weights {
        &self.weights
    }

    fn describe(&self) -> ModelDescription {
        self.description
    }

    /// Every operation keeps its output, in both modes.
    fn activation_count(&self, _training: bool) -> usize {
        let width = self.description.width;
        let stage = |stage: usize| {
            let map = (width << stage) * (IMAGE_SIZE >> stage).pow(2);
            // Two norms, two ReLUs, two convolutions and the sum; a first block's norm and ReLU are of its input,
            // which is twice as large.
            let block = |block: &BlockConfig| {
                if block.stride == 2 {
                    10
                } else {
                    7 + usize::from(block.changes_shape())
                }
            };
            let configs = stage_blocks(width, stage, self.blocks[stage]);
            map * configs.iter().map(block).sum::<usize>()
        };
        let stem = width * IMAGE_SIZE.pow(2);
        let last = 2 * (width << 3) * (IMAGE_SIZE >> 3).pow(2);
        stem + (0..4).map(stage).sum::<usize>() + last
    }

    fn normalization(&self) -> Option<Normalization> {
        self.input.normalization()
    }

    fn set_normalization(&mut self, normalization: Option<Normalization>) -> Result<()> {
        let device = self.layers.stem.weight.device();
        self.input = InputLayer::new(normalization, device)?;
        Ok(())
    }
}

/// A copy in evaluation mode.
struct EvalPreActResNet {
    input: InputLayer,
    layers: Layers,
}

impl Classifier for EvalPreActResNet {
    fn features(&self, images: &Tensor) -> Result<Features> {
        let pixels = self.input.forward(images)?;
        self.layers.features(&pixels, BatchNorm::eval)
    }
}

/// The layers behind the input.
struct Layers {
    stem: Conv2d,
    stages: Vec<Vec<Block>>,
    norm: BatchNorm,
    linear: Linear,
}

impl Layers {
    fn new(blocks: [usize; 4], width: usize, weights: &Weights) -> Result<Self> {
        let stage = |stage: usize| -> Result<Vec<Block>> {
            let configs = stage_blocks(width, stage, blocks[stage]);
            configs
                .iter()
                .map(|config| Block::new(config, weights))
                .collect()
        };
        Ok(Self {
            stem: conv(weights, "conv1", 1, 1)?,
            stages: (0..4).map(stage).collect::<Result<_>>()?,
            norm: BatchNorm::new(weights, "bn")?,
            linear: Linear::new(weights, "linear")?,
        })
    }

    /// Feature maps and logits of `[B,32,32,3]`; `norm` applies a normalization in training or evaluation mode.
    fn features(&self, pixels: &Tensor, norm: Norm) -> Result<Features> {
        let mut x = crate::conv2d(pixels, &self.stem, None)?;
        let mut maps = vec![x.clone()];
        for stage in &self.stages {
            for block in stage {
                x = block.forward(&x, norm)?;
            }
            maps.push(x.clone());
        }
        let x = crate::relu(&norm(&self.norm, &x)?)?;
        let logits = self.linear.forward_images(&crate::global_avg_pool(&x)?)?;
        Ok(Features { maps, logits })
    }
}

/// [`BatchNorm::train`] or [`BatchNorm::eval`].
type Norm = fn(&BatchNorm, &Tensor) -> Result<Tensor>;

/// A pre-activation block: twice normalization, ReLU and 3x3 convolution, added to the shortcut.
struct Block {
    norms: [BatchNorm; 2],
    convs: [Conv2d; 2],
    /// Of the activated input, where the shape changes; elsewhere the input itself is the shortcut.
    shortcut: Option<Conv2d>,
}

impl Block {
    fn new(config: &BlockConfig, weights: &Weights) -> Result<Self> {
        let at = |part: &str| format!("{}.{part}", config.name);
        let norm = |part: &str| BatchNorm::new(weights, &at(part));
        let shortcut = || conv(weights, &at("shortcut.0"), config.stride, 0);
        Ok(Self {
            norms: [norm("bn1")?, norm("bn2")?],
            convs: [
                conv(weights, &at("conv1"), config.stride, 1)?,
                conv(weights, &at("conv2"), 1, 1)?,
            ],
            shortcut: config.changes_shape().then(shortcut).transpose()?,
        })
    }

    fn forward(&self, x: &Tensor, norm: Norm) -> Result<Tensor> {
        let [norm1, norm2] = &self.norms;
        let [conv1, conv2] = &self.convs;
        let activated = crate::relu(&norm(norm1, x)?)?;
        let shortcut = match &self.shortcut {
            Some(conv) => crate::conv2d(&activated, conv, None)?,
            None => x.clone(),
        };
        let y = crate::conv2d(&activated, conv1, None)?;
        let y = crate::relu(&norm(norm2, &y)?)?;
        let y = crate::conv2d(&y, conv2, None)?;
        Ok(crate::add(&y, &shortcut)?)
    }
}

/// Every tensor of a network.
fn specs(blocks: [usize; 4], width: usize, classes: usize) -> Vec<TensorSpec> {
    let mut specs = vec![conv_spec("conv1", 3, width, 3)];
    let configs = (0..4).flat_map(|stage| stage_blocks(width, stage, blocks[stage]));
    for config in configs {
        let BlockConfig { c_in, c_out, .. } = config;
        let at = |part: &str| format!("{}.{part}", config.name);
        specs.extend(BatchNorm::specs(&at("bn1"), c_in));
        specs.push(conv_spec(&at("conv1"), c_in, c_out, 3));
        specs.extend(BatchNorm::specs(&at("bn2"), c_out));
        specs.push(conv_spec(&at("conv2"), c_out, c_out, 3));
        if config.changes_shape() {
            specs.push(conv_spec(&at("shortcut.0"), c_in, c_out, 1));
        }
    }
    specs.extend(BatchNorm::specs("bn", 8 * width));
    specs.extend(Linear::specs("linear", 8 * width, classes));
    specs
}

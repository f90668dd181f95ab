//! ResNets of basic blocks in their CIFAR form (He et al., "Deep residual learning for image recognition", 2016;
//! 3x3 stem, no pooling after it), on the fused residual stack of this crate.

mod eval;

use candle_core::Tensor;

use self::eval::EvalResNet;
use super::{
    Architecture, Classifier, Features, ModelDescription, Network, Normalization,
    layers::{ConvBnLayer, Linear},
    normalization::InputLayer,
    spec::TensorSpec,
    weights::Weights,
};
use crate::ResidualLayer;
use base::Result;

/// Pixels along an edge.
pub(super) const IMAGE_SIZE: usize = 32;

/// A ResNet in training mode.
#[derive(Clone, Debug)]
pub struct ResNet {
    description: ModelDescription,
    blocks: [usize; 4],
    weights: Weights,
    input: InputLayer,
    stages: Stages<ConvBnLayer>,
    linear: Linear,
}

/// The stem and the four stages; each ends with a feature map.
type Stages<L> = [Vec<ResidualLayer<L>>; 5];

/// The row of a ResNet whose stages have A, B, C and D blocks.
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
            let network = ResNet::new([A, B, C, D], description, weights)?;
            Ok(Box::new(network))
        },
    }
}

impl ResNet {
    fn new(blocks: [usize; 4], description: ModelDescription, weights: Weights) -> Result<Self> {
        let device = weights.get("conv1.weight")?.device().clone();
        let block = |block: &BlockConfig| -> Result<ResidualLayer<ConvBnLayer>> {
            let layer = |conv: &str, norm: &str, stride, padding| {
                let at = |part: &str| format!("{}.{part}", block.name);
                ConvBnLayer::new(&weights, (&at(conv), &at(norm)), stride, padding)
            };
            Ok(ResidualLayer::Block {
                first: layer("conv1", "bn1", block.stride, 1)?,
                second: layer("conv2", "bn2", 1, 1)?,
                shortcut: block
                    .changes_shape()
                    .then(|| layer("shortcut.0", "shortcut.1", block.stride, 0))
                    .transpose()?,
            })
        };
        let stage = |stage: usize| -> Result<Vec<ResidualLayer<ConvBnLayer>>> {
            let configs = stage_blocks(description.width, stage, blocks[stage]);
            configs.iter().map(block).collect()
        };
        let stem = ConvBnLayer::new(&weights, ("conv1", "bn1"), 1, 1)?;
        let stem = vec![ResidualLayer::Plain(stem)];
        Ok(Self {
            description,
            blocks,
            stages: [stem, stage(0)?, stage(1)?, stage(2)?, stage(3)?],
            linear: Linear::new(&weights, "linear")?,
            input: InputLayer::new(None, &device)?,
            weights,
        })
    }
}

impl Network for ResNet {
    fn train(&self, images: &Tensor) -> Result<Features> {
        let pixels = self.input.forward(images)?;
        features(&pixels, &self.stages, &self.linear, |x, stage| {
            let parameters = map_stage(stage, |layer| Ok(layer.parameters()))?;
            Ok(crate::residual_train(x, &parameters)?)
        })
    }

    fn eval(&self) -> Result<Box<dyn Classifier>> {
        let [stem, first, second, third, fourth] = &self.stages;
        let folded = |stage: &[ResidualLayer<ConvBnLayer>]| map_stage(stage, ConvBnLayer::folded);
        Ok(Box::new(EvalResNet {
            input: self.input.clone(),
            stages: [
                folded(stem)?,
                folded(first)?,
                folded(second)?,
                folded(third)?,
                folded(fourth)?,
            ],
            linear: self.linear.frozen()?,
        }))
    }

    fn weights(&self) -> &Weights {
        &self.weights
    }

    fn describe(&self) -> ModelDescription {
        self.description
    }

    fn activation_count(&self, training: bool) -> usize {
        let width = self.description.width;
        // In training mode the output of every convolution is kept, too.
        let maps = |convolutions: usize, activations: usize| {
            activations + if training { convolutions } else { 0 }
        };
        let stem = maps(1, 1) * width * IMAGE_SIZE.pow(2);
        let stage = |stage: usize| {
            let map = (width << stage) * (IMAGE_SIZE >> stage).pow(2);
            let block = |block: &BlockConfig| maps(2 + usize::from(block.changes_shape()), 2);
            let configs = stage_blocks(width, stage, self.blocks[stage]);
            map * configs.iter().map(block).sum::<usize>()
        };
        stem + (0..self.blocks.len()).map(stage).sum::<usize>()
    }

    fn normalization(&self) -> Option<Normalization> {
        self.input.normalization()
    }

    fn set_normalization(&mut self, normalization: Option<Normalization>) -> Result<()> {
        let device = self.weights.get("conv1.weight")?.device().clone();
        self.input = InputLayer::new(normalization, &device)?;
        Ok(())
    }
}

/// Global average pooling and the linear layer, of the last feature map `[B,4,4,8w]`.
fn logits(map: &Tensor, linear: &Linear) -> Result<Tensor> {
    linear.forward_images(&crate::global_avg_pool(map)?)
}

/// The same stage of other layers.
fn map_stage<L, M>(
    stage: &[ResidualLayer<L>],
    f: impl Fn(&L) -> Result<M>,
) -> Result<Vec<ResidualLayer<M>>> {
    stage.iter().map(|layer| layer.try_map(&f)).collect()
}

/// Feature maps and logits of `[B,32,32,3]`, where `forward` computes a stage.
fn features<L>(
    pixels: &Tensor,
    stages: &Stages<L>,
    linear: &Linear,
    forward: impl Fn(&Tensor, &[ResidualLayer<L>]) -> Result<Tensor>,
) -> Result<Features> {
    let mut maps: Vec<Tensor> = Vec::with_capacity(stages.len());
    for stage in stages {
        maps.push(forward(maps.last().unwrap_or(pixels), stage)?);
    }
    let logits = logits(maps.last().unwrap_or(pixels), linear)?;
    Ok(Features { maps, logits })
}

/// Name and sizes of a residual block of two 3x3 convolutions.
pub(super) struct BlockConfig {
    pub name: String,
    pub c_in: usize,
    pub c_out: usize,
    pub stride: usize,
}

impl BlockConfig {
    /// Whether the shortcut is a convolution.
    pub fn changes_shape(&self) -> bool {
        self.stride != 1 || self.c_in != self.c_out
    }
}

/// The blocks of a stage, 0 to 3.
pub(super) fn stage_blocks(width: usize, stage: usize, blocks: usize) -> Vec<BlockConfig> {
    let c_out = width << stage;
    let config = |block: usize| {
        let halves = stage > 0 && block == 0;
        BlockConfig {
            name: format!("layer{}.{block}", stage + 1),
            c_in: if halves { c_out / 2 } else { c_out },
            c_out,
            stride: if halves { 2 } else { 1 },
        }
    };
    (0..blocks).map(config).collect()
}

/// Every tensor of a ResNet.
fn specs(blocks: [usize; 4], width: usize, classes: usize) -> Vec<TensorSpec> {
    let mut specs = ConvBnLayer::specs(("conv1", "bn1"), 3, width, 3);
    let configs = (0..4).flat_map(|stage| stage_blocks(width, stage, blocks[stage]));
    for block in configs {
        let at = |part: &str| format!("{}.{part}", block.name);
        let mut layer = |conv: &str, norm: &str, c_in, kernel| {
            let names = (at(conv), at(norm));
            let names = (names.0.as_str(), names.1.as_str());
            specs.extend(ConvBnLayer::specs(names, c_in, block.c_out, kernel));
        };
        layer("conv1", "bn1", block.c_in, 3);
        layer("conv2", "bn2", block.c_out, 3);
        if block.changes_shape() {
            layer("shortcut.0", "shortcut.1", block.c_in, 1);
        }
    }
    specs.extend(Linear::specs("linear", 8 * width, classes));
    specs
}

#[cfg(test)]
mod tests;

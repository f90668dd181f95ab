//! ResNet34 in CIFAR form (He et al., "Deep residual learning", 2016; 3x3 stem, no pooling after
//! it): pixels come in, five feature maps and logits go out.

use candle_core::{DType, Device, Tensor, Var};

use super::{
    Classifier, Features, Graph, Linearized,
    layers::{ConvBnLayer, Linear},
    normalization::{Normalization, NormalizationLayer},
    spec::TensorSpec,
    weights::Weights,
};
use crate::{FoldedConvBn, ResidualLayer, ResidualVjp};
use base::{Error, Result};

/// The stem's channels in the paper's model; the stages have 1, 2, 4 and 8 times as many.
pub const PAPER_WIDTH: usize = 64;

/// Pixels along an edge.
const SIDE: usize = 32;

/// Classes of CIFAR-10.
const CLASSES: usize = 10;

/// Blocks of each stage.
const BLOCKS: [usize; 4] = [3, 4, 6, 3];

/// A classifier of any width that learns.
#[derive(Clone, Debug)]
pub struct ResNet34 {
    width: usize,
    weights: Weights,
    normalization: Option<NormalizationLayer>,
    parts: Parts<ConvBnLayer>,
    linear: Linear,
}

/// A classifier as it was when this was made, in evaluation mode.
#[derive(Clone, Debug)]
pub struct FrozenResNet34 {
    normalization: Option<NormalizationLayer>,
    parts: Parts<FoldedConvBn>,
    linear: Linear,
}

/// The stem and the four stages, each of which ends with a feature map.
type Parts<L> = [Vec<ResidualLayer<L>>; 5];

impl ResNet34 {
    /// A fresh model: PyTorch's initialization, drawn from the seed.
    pub fn init(width: usize, seed: u64, device: &Device) -> Result<Self> {
        if width == 0 {
            return Err(Error::Usage("--width 0: a model needs a channel".into()));
        }
        Self::new("a fresh model", Weights::init(&specs(width), seed, device)?)
    }

    /// The model of these weights; the width is that of the stem. `what` names them in errors.
    ///
    /// # Errors
    /// [`Error::Data`] when a tensor is missing, misshapen or unknown.
    pub fn new(what: &str, weights: Weights) -> Result<Self> {
        let width = weights.dim("conv1.weight", 0);
        weights.check(what, &specs(width.max(1)))?;
        let block = |place: &Place| -> Result<ResidualLayer<ConvBnLayer>> {
            let layer = |conv: &str, norm: &str, stride, padding| {
                let at = |part: &str| format!("{}.{part}", place.name);
                ConvBnLayer::new(&weights, (&at(conv), &at(norm)), stride, padding)
            };
            Ok(ResidualLayer::Block {
                first: layer("conv1", "bn1", place.stride, 1)?,
                second: layer("conv2", "bn2", 1, 1)?,
                shortcut: place
                    .changes_shape()
                    .then(|| layer("shortcut.0", "shortcut.1", place.stride, 0))
                    .transpose()?,
            })
        };
        let stage = |stage: usize| -> Result<Vec<ResidualLayer<ConvBnLayer>>> {
            places(width, stage).iter().map(block).collect()
        };
        let stem = ConvBnLayer::new(&weights, ("conv1", "bn1"), 1, 1)?;
        let stem = vec![ResidualLayer::Plain(stem)];
        Ok(Self {
            width,
            parts: [stem, stage(0)?, stage(1)?, stage(2)?, stage(3)?],
            linear: Linear::new(&weights, "linear")?,
            normalization: None,
            weights,
        })
    }

    /// The same network with this normalization, or none, as its first layer.
    pub fn normalized(mut self, normalization: Option<Normalization>) -> Result<Self> {
        let device = self.weights.get("conv1.weight")?.device().clone();
        self.normalization = normalization.map(|n| n.layer(&device)).transpose()?;
        Ok(self)
    }

    /// Its first layer, if it has one.
    pub fn normalization(&self) -> Option<Normalization> {
        self.normalization
            .as_ref()
            .map(NormalizationLayer::normalization)
    }

    /// Channels of the stem.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Numbers of an image that a model of this width keeps for the way back: every activation and,
    /// if it learns, what every convolution gave.
    pub fn kept(width: usize, learns: bool) -> usize {
        let maps = |layers: usize, activations: usize| match learns {
            true => layers + activations,
            false => activations,
        };
        let stem = maps(1, 1) * width * SIDE.pow(2);
        let stage = |stage: usize| {
            let map = (width << stage) * (SIDE >> stage).pow(2);
            let block = |place: &Place| maps(2 + usize::from(place.changes_shape()), 2);
            map * places(width, stage).iter().map(block).sum::<usize>()
        };
        stem + (0..BLOCKS.len()).map(stage).sum::<usize>()
    }

    /// The model's tensors.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Feature maps and logits of `[B,3,32,32]` pixels in `[0,1]`, in training mode: batch
    /// statistics are used and remembered.
    pub fn train(&self, images: &Tensor) -> Result<Features> {
        let pixels = first_layer(images, self.normalization.as_ref())?;
        features(&pixels, &self.parts, &self.linear, |x, links| {
            let parameters = map(links, |layer| Ok(layer.parameters.clone()))?;
            let (y, moments) = crate::residual_train(x, &parameters)?;
            let layers = links.iter().flat_map(ResidualLayer::layers);
            for (layer, moments) in layers.zip(&moments) {
                layer.remember(moments)?;
            }
            Ok(y)
        })
    }

    /// The model as it is now, in evaluation mode: running statistics, nothing learns.
    pub fn frozen(&self) -> Result<FrozenResNet34> {
        let part = |links: &[ResidualLayer<ConvBnLayer>]| map(links, ConvBnLayer::frozen);
        let [stem, first, second, third, fourth] = &self.parts;
        Ok(FrozenResNet34 {
            normalization: self.normalization.clone(),
            parts: [
                part(stem)?,
                part(first)?,
                part(second)?,
                part(third)?,
                part(fourth)?,
            ],
            linear: self.linear.frozen()?,
        })
    }
}

impl Classifier for FrozenResNet34 {
    fn features(&self, images: &Tensor) -> Result<Features> {
        let pixels = first_layer(images, self.normalization.as_ref())?;
        features(&pixels, &self.parts, &self.linear, |x, links| {
            Ok(crate::residual_eval(x, links)?)
        })
    }

    fn linearized<'a>(&'a self, images: &Tensor) -> Result<Box<dyn Linearized + 'a>> {
        if !images.device().is_cpu() {
            return Ok(Box::new(Graph::new(images, |pixels| self.logits(pixels))?));
        }
        let pixels = first_layer(images, self.normalization.as_ref())?;
        let around = ResidualVjp::new(&pixels, self.parts.concat())?;
        Ok(Box::new(LinearizedResNet34 {
            normalization: self.normalization.as_ref(),
            logits: logits(around.y(), &self.linear)?,
            linear: &self.linear,
            around,
        }))
    }
}

/// A model around images on the CPU.
struct LinearizedResNet34<'a> {
    normalization: Option<&'a NormalizationLayer>,
    around: ResidualVjp,
    linear: &'a Linear,
    logits: Tensor,
}

impl Linearized for LinearizedResNet34<'_> {
    fn logits(&self) -> &Tensor {
        &self.logits
    }

    fn vjp(&mut self, rows: &[usize], slopes: &[Tensor]) -> Result<Vec<Tensor>> {
        let rows_of_y: Vec<u32> = rows.iter().map(|&row| row as u32).collect();
        let rows_of_y = Tensor::new(rows_of_y, self.logits.device())?;
        let y = Var::from_tensor(&self.around.y().index_select(&rows_of_y, 0)?)?;
        let logits = logits(&y, self.linear)?;
        let gradient = |slope: &Tensor| {
            let mut gradients = (&logits * slope)?.sum_all()?.backward()?;
            Ok(match gradients.remove(&y) {
                Some(gradient) => gradient.detach().contiguous()?,
                None => y.zeros_like()?.detach(),
            })
        };
        let gradients = slopes.iter().map(gradient).collect::<Result<Vec<_>>>()?;
        let of_pixels = self.around.vjp(rows, &gradients)?;
        let planar = |gradient: &Tensor| {
            let gradient = match self.normalization {
                Some(layer) => layer.backward(gradient)?,
                None => gradient.clone(),
            };
            Ok(gradient.permute((0, 3, 1, 2))?.contiguous()?)
        };
        of_pixels.iter().map(planar).collect()
    }
}

/// `[B,3,32,32]` pixels as the first convolution takes them: `[B,32,32,3]`, normalized.
fn first_layer(images: &Tensor, normalization: Option<&NormalizationLayer>) -> Result<Tensor> {
    let pixels = images.permute((0, 2, 3, 1))?.contiguous()?;
    match normalization {
        Some(layer) => layer.forward(&pixels),
        None => Ok(pixels),
    }
}

/// What the last feature map `[B,4,4,8w]` means.
fn logits(map: &Tensor, linear: &Linear) -> Result<Tensor> {
    let map = map.to_dtype(DType::F32)?;
    linear.forward_pixels(&map.flatten(1, 2)?.mean(1)?)
}

/// The same links of other layers.
fn map<L, M>(
    links: &[ResidualLayer<L>],
    f: impl Fn(&L) -> Result<M>,
) -> Result<Vec<ResidualLayer<M>>> {
    links.iter().map(|link| link.try_map(&f)).collect()
}

/// Lets pixels `[B,32,32,3]` go through all parts, each by `through`.
fn features<L>(
    pixels: &Tensor,
    parts: &Parts<L>,
    linear: &Linear,
    through: impl Fn(&Tensor, &[ResidualLayer<L>]) -> Result<Tensor>,
) -> Result<Features> {
    let [b0, b1, b2, b3, b4] = parts;
    let stem = through(pixels, b0)?;
    let first = through(&stem, b1)?;
    let second = through(&first, b2)?;
    let third = through(&second, b3)?;
    let fourth = through(&third, b4)?;
    Ok(Features {
        logits: logits(&fourth, linear)?,
        maps: [stem, first, second, third, fourth],
    })
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

/// Every tensor of a model of this width.
pub fn specs(width: usize) -> Vec<TensorSpec> {
    let mut specs = ConvBnLayer::specs(("conv1", "bn1"), 3, width, 3);
    for place in (0..BLOCKS.len()).flat_map(|stage| places(width, stage)) {
        let at = |part: &str| format!("{}.{part}", place.name);
        let mut layer = |conv: &str, norm: &str, c_in, kernel| {
            let names = (at(conv), at(norm));
            let names = (names.0.as_str(), names.1.as_str());
            specs.extend(ConvBnLayer::specs(names, c_in, place.c_out, kernel));
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

#[cfg(test)]
mod tests;

//! NST, neural style transfer (Gatys, Ecker, Bethge, "Image style transfer using convolutional
//! neural networks", 2016): moves an image's feature maps in the attacked model towards those of
//! an image of another class, the style image.
//!
//! Each image minimizes `style_weight * style + content_weight * content` by SGD. The paper's
//! style is the stage-1 map and its content the stage-4 map, both of the style image. The
//! classic style is the Gram matrices of stages 1 and 2, its content the own stage-4 map.
//! Pixels are not clipped between steps.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::{
    Attack, AttackBatch, AttackTraits, Perturbed, Preset,
    gradient::{self, FiniteCheck},
    params::{RangeCheck, in_range, steps_in_range},
    preset::Parameters,
};
use base::{Error, Result};
use nn::model::{Classifier, Features};

/// The parameters of the style transfer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nst {
    /// Which statistics of the style image are copied.
    pub style: Style,
    /// The image whose stage-4 map is the content target.
    pub content: Content,
    /// Distance of two feature maps.
    pub distance: Distance,
    /// The direction of a step.
    pub step: Step,
    /// Learning rate, 0 to 1e6.
    pub lr: f64,
    /// Momentum, 0 to 1.
    pub momentum: f64,
    /// Weight decay (of the pixels), 0 to 1.
    pub weight_decay: f64,
    /// SGD steps.
    pub steps: u32,
    /// Weight of the style, 0 to 1e9.
    pub style_weight: f64,
    /// Weight of the content, 0 to 1e9.
    pub content_weight: f64,
}

/// Which statistics of the style image are copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Style {
    /// The stage-1 map.
    Features,
    /// The Gram matrices of the maps of stages 1 and 2, divided by C*H*W.
    Gram,
}

/// The image whose stage-4 map is the content target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// The style image's, as the paper does.
    StyleImage,
    /// The clean image's.
    Own,
}

/// Distance of two feature maps of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distance {
    /// Mean of the squared differences.
    Mean,
    /// The same, divided by the mean of the target's squares, so that a map of zeros is at
    /// distance 1, whatever the model's width and the size of its features.
    Relative,
}

/// The direction of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// The gradient, as it is.
    Gradient,
    /// The gradient divided by its L2 norm, for each image: the distance an image moves then
    /// depends on `lr`, momentum and steps alone, so that no model makes it diverge.
    Direction,
}

impl Parameters for Nst {
    const TRAITS: AttackTraits = AttackTraits {
        skips_misclassified: false,
        needs_gradient: false,
        needs_style: true,
        takes_start: false,
        strong: false,
        adversarial: true,
    };

    fn preset(preset: Preset) -> Self {
        match preset {
            Preset::Paper | Preset::Published => Self {
                style: Style::Features,
                content: Content::StyleImage,
                distance: Distance::Mean,
                step: Step::Gradient,
                lr: 0.1,
                momentum: 0.9,
                weight_decay: 5e-4,
                steps: 10,
                style_weight: 1.0,
                content_weight: 1.0,
            },
            Preset::Standard => Self {
                style: Style::Gram,
                content: Content::Own,
                distance: Distance::Relative,
                step: Step::Direction,
                lr: 0.1,
                momentum: 0.9,
                weight_decay: 0.0,
                steps: 10,
                style_weight: 1.0,
                content_weight: 0.1,
            },
        }
    }

    fn check(&self) -> RangeCheck {
        in_range("lr", self.lr, 0.0..=1e6)?;
        in_range("momentum", self.momentum, 0.0..=1.0)?;
        in_range("weight_decay", self.weight_decay, 0.0..=1.0)?;
        steps_in_range(self.steps)?;
        in_range("style_weight", self.style_weight, 0.0..=1e9)?;
        in_range("content_weight", self.content_weight, 0.0..=1e9)
    }
}

impl Attack for Nst {
    fn perturb(&self, model: &dyn Classifier, batch: &AttackBatch) -> Result<Perturbed> {
        let style_features = model.features(&batch.style_images()?)?;
        let style = self.style_targets(&style_features)?;
        let content = match self.content {
            Content::StyleImage => last_map(&style_features)?.clone(),
            Content::Own => last_map(&model.features(batch.images())?)?.clone(),
        };

        let mut images = batch.images().clone();
        let mut velocity: Option<Tensor> = None;
        let mut finite = FiniteCheck::default();
        for _ in 0..self.steps {
            let pixels = gradient::variable(&images)?;
            let features = model.features(&pixels)?;
            let mut loss = (self.distance(last_map(&features)?, &content)? * self.content_weight)?;
            for (map, target) in std::iter::zip(self.style_targets(&features)?, &style) {
                loss = (loss + (self.distance(&map, target)? * self.style_weight)?)?;
            }
            let mut gradient = gradient::unchecked(&pixels, &loss.sum_all()?)?;
            finite.add(&gradient)?;
            if self.step == Step::Direction {
                gradient = direction(&gradient)?;
            }
            // PyTorch's SGD: weight decay is added to the gradient, the first velocity is the first one.
            let gradient = (gradient + (&images * self.weight_decay)?)?;
            let step = match velocity {
                Some(velocity) => ((velocity * self.momentum)? + gradient)?,
                None => gradient,
            };
            images = (images - (&step * self.lr)?)?;
            velocity = Some(step);
        }
        finite.finish(gradient::GRADIENT, batch.ids())?;
        Ok(Perturbed {
            images,
            steps: vec![self.steps; batch.len()],
        })
    }
}

/// The feature map of a stage, 1 the first after the stem.
fn stage_map(features: &Features, stage: usize) -> Result<&Tensor> {
    features.maps.get(stage).ok_or_else(|| {
        let found = format!("a model of {} feature maps", features.maps.len());
        Error::data("nst", found, format!("one of {} at least", stage + 1))
    })
}

/// The feature map of the last stage.
fn last_map(features: &Features) -> Result<&Tensor> {
    stage_map(features, features.maps.len().max(2) - 1)
}

impl Nst {
    fn style_targets(&self, features: &Features) -> Result<Vec<Tensor>> {
        match self.style {
            Style::Features => Ok(vec![stage_map(features, 1)?.clone()]),
            Style::Gram => [1, 2]
                .iter()
                .map(|stage| gram(stage_map(features, *stage)?))
                .collect(),
        }
    }

    /// The distance of each image's map to its target: `[B]`.
    fn distance(&self, map: &Tensor, target: &Tensor) -> Result<Tensor> {
        let distance = (map - target)?.sqr()?.flatten_from(1)?.mean(1)?;
        match self.distance {
            Distance::Mean => Ok(distance),
            Distance::Relative => {
                let size = target.sqr()?.flatten_from(1)?.mean(1)?;
                // Avoids a division by zero where the target is all zeros.
                Ok((distance / (size + 1e-12)?)?)
            }
        }
    }
}

/// Each image's gradient divided by its L2 norm; zeros stay zeros.
fn direction(gradient: &Tensor) -> Result<Tensor> {
    let rows = gradient.flatten_from(1)?;
    // By the largest first, so that no square is too small or too large for an f32.
    let largest = (rows.abs()?.max_keepdim(1)? + f64::from(f32::MIN_POSITIVE))?;
    let rows = rows.broadcast_div(&largest)?;
    let length = (rows.sqr()?.sum_keepdim(1)?.sqrt()? + f64::from(f32::MIN_POSITIVE))?;
    Ok(rows.broadcast_div(&length)?.reshape(gradient.shape())?)
}

/// Gram matrix: `[B,H,W,C]` to `[B,C,C]`, the channels' inner products divided by C*H*W.
fn gram(map: &Tensor) -> Result<Tensor> {
    let (_, h, w, c) = map.dims4()?;
    let positions = map.flatten(1, 2)?;
    let size = (c * h * w) as f64;
    Ok((positions.t()?.contiguous()?.matmul(&positions)? / size)?)
}

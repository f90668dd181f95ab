//! NST, neural style transfer (Gatys, Ecker, Bethge, "Image style transfer using convolutional
//! neural networks", 2016): the model's own feature maps pull an image towards one of another
//! class.
//!
//! Each image minimizes `style_weight * style + content_weight * content` by SGD. The paper's
//! style is the stage-1 map and its content the stage-4 map, both of the style image. The
//! classic style is the Gram matrices of stages 1 and 2, its content the own stage-4 map.
//! Pixels are not clipped between steps.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::{
    Attack, AttackBatch, AttackTraits, Perturbed, Preset,
    check::{Check, number, steps},
    gradient,
    preset::Parameters,
};
use base::Result;
use nn::model::{Classifier, Features};

/// The parameters of the transfer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nst {
    /// What of the style image is copied.
    pub style: Style,
    /// Whose stage-4 map is kept.
    pub content: Content,
    /// How two maps are compared.
    pub distance: Distance,
    /// What a step is made of.
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

/// What of the style image is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Style {
    /// The stage-1 map.
    Features,
    /// The Gram matrices of the maps of stages 1 and 2, divided by C*H*W.
    Gram,
}

/// Whose stage-4 map is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// The style image's, as the paper does.
    StyleImage,
    /// The clean image's.
    Own,
}

/// How two maps of an image are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distance {
    /// Mean of the squared differences.
    Mean,
    /// The same, divided by the mean of the target's squares: no matter how wide a model is or
    /// how large its features are, 1 is as far as a map of zeros.
    Relative,
}

/// What a step is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// The gradient, as it is.
    Gradient,
    /// The gradient divided by its L2 norm, for each image: how far an image goes then
    /// depends on `lr`, momentum and steps alone, and no model makes it run away.
    Direction,
}

impl Parameters for Nst {
    const TRAITS: AttackTraits = AttackTraits {
        skips_misclassified: false,
        needs_gradient: false,
        needs_style: true,
        strong: false,
    };

    fn preset(preset: Preset) -> Self {
        match preset {
            Preset::Paper => Self {
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

    fn check(&self) -> Check {
        number("lr", self.lr, 0.0..=1e6)?;
        number("momentum", self.momentum, 0.0..=1.0)?;
        number("weight_decay", self.weight_decay, 0.0..=1.0)?;
        steps(self.steps)?;
        number("style_weight", self.style_weight, 0.0..=1e9)?;
        number("content_weight", self.content_weight, 0.0..=1e9)
    }
}

impl Attack for Nst {
    fn perturb(&self, net: &dyn Classifier, batch: &AttackBatch) -> Result<Perturbed> {
        batch.check()?;
        let lender = net.features(&batch.styles)?;
        let style = self.style_of(&lender)?;
        let content = match self.content {
            Content::StyleImage => lender.maps[4].clone(),
            Content::Own => net.features(&batch.images)?.maps[4].clone(),
        };

        let mut images = batch.images.clone();
        let mut velocity: Option<Tensor> = None;
        for _ in 0..self.steps {
            let pixels = gradient::variable(&images)?;
            let features = net.features(&pixels)?;
            let mut loss = (self.distance(&features.maps[4], &content)? * self.content_weight)?;
            for (map, target) in std::iter::zip(self.style_of(&features)?, &style) {
                loss = (loss + (self.distance(&map, target)? * self.style_weight)?)?;
            }
            let mut gradient = gradient::gradient(&pixels, &loss.sum_all()?, batch.ids)?;
            if self.step == Step::Direction {
                gradient = direction(&gradient)?;
            }
            // PyTorch's SGD: the decay joins the gradient, momentum starts at the first one.
            let slope = (gradient + (&images * self.weight_decay)?)?;
            let moved = match velocity {
                Some(velocity) => ((velocity * self.momentum)? + slope)?,
                None => slope,
            };
            images = (images - (&moved * self.lr)?)?;
            velocity = Some(moved);
        }
        Ok(Perturbed {
            images,
            steps: vec![self.steps; batch.ids.len()],
        })
    }
}

impl Nst {
    fn style_of(&self, features: &Features) -> Result<Vec<Tensor>> {
        match self.style {
            Style::Features => Ok(vec![features.maps[1].clone()]),
            Style::Gram => features.maps[1..=2].iter().map(gram).collect(),
        }
    }

    /// How far each image's map is from its target: `[B]`.
    fn distance(&self, map: &Tensor, target: &Tensor) -> Result<Tensor> {
        let distance = (map - target)?.sqr()?.flatten_from(1)?.mean(1)?;
        match self.distance {
            Distance::Mean => Ok(distance),
            Distance::Relative => {
                let size = target.sqr()?.flatten_from(1)?.mean(1)?;
                // A map of zeros has no size to compare with.
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

/// `[B,H,W,C]` to `[B,C,C]`: how much every two channels go together, divided by C*H*W.
fn gram(map: &Tensor) -> Result<Tensor> {
    let (_, h, w, c) = map.dims4()?;
    let positions = map.flatten(1, 2)?;
    let size = (c * h * w) as f64;
    Ok((positions.t()?.contiguous()?.matmul(&positions)? / size)?)
}

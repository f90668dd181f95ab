//! The detector's Transformer: tokens `[B,N,D]` come in, the class token after the last layer,
//! normed, goes out.

use candle_core::Tensor;

use super::{
    layers::{LayerNorm, Linear},
    spec::{Init, TensorSpec},
    weights::Weights,
};
use crate::{DropoutMask, SublayerWeights};
use base::{Result, random};

/// Attention heads.
pub const HEADS: usize = 4;

/// Dropout during training.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    /// Probability of dropping an element.
    pub rate: f32,
    /// Key of the masks, another for each step.
    pub key: u64,
}

impl Dropout {
    /// The mask at the place of this number; each place has its own.
    fn at(this: Option<Self>, place: usize) -> Option<DropoutMask> {
        this.filter(|this| this.rate > 0.0)
            .map(|Self { rate, key }| DropoutMask::new(rate, random::mix(key ^ place as u64)))
    }
}

/// A pre-norm Transformer with a class token.
#[derive(Clone, Debug)]
pub struct Transformer {
    class_token: Tensor,
    positions: Tensor,
    layers: Vec<Layer>,
    norm: LayerNorm,
}

impl Transformer {
    /// The Transformer of `layers` layers among a model's weights.
    pub fn new(weights: &Weights, layers: usize) -> Result<Self> {
        Ok(Self {
            class_token: weights.get("cls_token")?,
            positions: weights.get("pos_emb")?,
            layers: (0..layers)
                .map(|i| Layer::new(weights, i))
                .collect::<Result<_>>()?,
            norm: LayerNorm::new(weights, "final_norm")?,
        })
    }

    /// What it needs for `tokens` tokens of `size` numbers.
    pub fn specs(tokens: usize, size: usize, layers: usize) -> Vec<TensorSpec> {
        let zeros =
            |name: &str, tokens| TensorSpec::new(name, [1, tokens, size], Init::Constant(0.0));
        let mut specs = vec![zeros("cls_token", 1), zeros("pos_emb", tokens + 1)];
        specs.extend((0..layers).flat_map(|i| Layer::specs(i, size)));
        specs.extend(LayerNorm::specs("final_norm", size));
        specs
    }

    /// Layers.
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    /// `[B,N,D]` to `[B,D]`. As nothing looks at the other tokens behind the last layer, that
    /// layer computes the class token alone.
    pub fn forward(&self, tokens: &Tensor, dropout: Option<Dropout>) -> Result<Tensor> {
        let mask = Dropout::at(dropout, 0);
        let mut x = crate::embed(tokens, &self.class_token, &self.positions, mask)?;
        for (i, layer) in self.layers.iter().enumerate() {
            let masks = [1, 2, 3].map(|place| Dropout::at(dropout, 3 * i + place));
            x = layer.forward(&x, masks, i + 1 == self.layers.len())?;
        }
        self.norm.forward(&x.narrow(1, 0, 1)?.squeeze(1)?)
    }
}

/// A layer: attention, then a map of each token by itself.
#[derive(Clone, Debug)]
struct Layer {
    attention: SublayerWeights,
    feed_forward: SublayerWeights,
}

impl Layer {
    /// Norm, first and second map of both halves.
    const HALVES: [[&str; 3]; 2] = [
        ["norm_1", "att.qkv", "att.proj"],
        ["norm_2", "ffn.layers.0", "ffn.layers.3"],
    ];

    fn new(weights: &Weights, number: usize) -> Result<Self> {
        let pair = |part: &str| -> Result<[Tensor; 2]> {
            let get = |kind: &str| weights.get(&format!("layers.{number}.{part}.{kind}"));
            Ok([get("weight")?, get("bias")?])
        };
        let half = |[norm, first, second]: [&str; 3]| -> Result<SublayerWeights> {
            Ok(SublayerWeights {
                norm: pair(norm)?,
                first: pair(first)?,
                second: pair(second)?,
                eps: LayerNorm::EPS,
            })
        };
        Ok(Self {
            attention: half(Self::HALVES[0])?,
            feed_forward: half(Self::HALVES[1])?,
        })
    }

    fn specs(number: usize, size: usize) -> Vec<TensorSpec> {
        let raised = [3 * size, 4 * size];
        let lowered = [size, 4 * size];
        let mut specs = Vec::new();
        for (i, half) in Self::HALVES.iter().enumerate() {
            let [norm, first, second] = half.map(|part| format!("layers.{number}.{part}"));
            specs.extend(LayerNorm::specs(&norm, size));
            specs.extend(Linear::specs(&first, size, raised[i]));
            specs.extend(Linear::specs(&second, lowered[i], size));
        }
        specs
    }

    /// All tokens, or the class token alone if it is the last layer.
    fn forward(&self, x: &Tensor, masks: [Option<DropoutMask>; 3], last: bool) -> Result<Tensor> {
        let [attention, inner, outer] = masks;
        let x = if last {
            crate::cls_attention_sublayer(x, &self.attention, HEADS, attention)?
        } else {
            crate::attention_sublayer(x, &self.attention, HEADS, attention)?
        };
        Ok(crate::feed_forward_sublayer(
            &x,
            &self.feed_forward,
            [inner, outer],
        )?)
    }
}

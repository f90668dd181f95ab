//! Pre-norm Transformer encoder with a class token: tokens `[B,N,D]` to the normalized class token `[B,D]`.

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
    /// Key of the masks; each step has its own.
    pub key: u64,
}

impl Dropout {
    /// The mask of the `index`-th dropout layer.
    fn mask(this: Option<Self>, index: usize) -> Option<DropoutMask> {
        this.filter(|this| this.rate > 0.0)
            .map(|Self { rate, key }| DropoutMask::new(rate, random::mix(key ^ index as u64)))
    }
}

/// The encoder.
#[derive(Clone, Debug)]
pub struct Transformer {
    class_token: Tensor,
    positions: Tensor,
    layers: Vec<EncoderLayer>,
    norm: LayerNorm,
}

impl Transformer {
    /// The encoder of `layers` layers among a model's weights.
    pub fn new(weights: &Weights, layers: usize) -> Result<Self> {
        Ok(Self {
            class_token: weights.get("cls_token")?,
            positions: weights.get("pos_emb")?,
            layers: (0..layers)
                .map(|i| EncoderLayer::new(weights, i))
                .collect::<Result<_>>()?,
            norm: LayerNorm::new(weights, "final_norm")?,
        })
    }

    /// The tensors for `tokens` tokens of `size` numbers.
    pub fn specs(tokens: usize, size: usize, layers: usize) -> Vec<TensorSpec> {
        let zeros =
            |name: &str, tokens| TensorSpec::new(name, [1, tokens, size], Init::Constant(0.0));
        let mut specs = vec![zeros("cls_token", 1), zeros("pos_emb", tokens + 1)];
        specs.extend((0..layers).flat_map(|i| EncoderLayer::specs(i, size)));
        specs.extend(LayerNorm::specs("final_norm", size));
        specs
    }

    /// Number of layers.
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    /// `[B,N,D]` to `[B,D]`. The last layer computes the class token alone, as the other tokens' outputs are not
    /// used.
    pub fn forward(&self, tokens: &Tensor, dropout: Option<Dropout>) -> Result<Tensor> {
        let mask = Dropout::mask(dropout, 0);
        let mut x = crate::embed(tokens, &self.class_token, &self.positions, mask)?;
        for (i, layer) in self.layers.iter().enumerate() {
            let masks = [1, 2, 3].map(|k| Dropout::mask(dropout, 3 * i + k));
            x = layer.forward(&x, masks, i + 1 == self.layers.len())?;
        }
        self.norm.forward(&x.narrow(1, 0, 1)?.squeeze(1)?)
    }
}

/// An attention sublayer and a feed-forward sublayer.
#[derive(Clone, Debug)]
struct EncoderLayer {
    attention: SublayerWeights,
    feed_forward: SublayerWeights,
}

impl EncoderLayer {
    /// Layer norm, first and second linear layer of both sublayers.
    const SUBLAYERS: [[&str; 3]; 2] = [
        ["norm_1", "att.qkv", "att.proj"],
        ["norm_2", "ffn.layers.0", "ffn.layers.3"],
    ];

    fn new(weights: &Weights, number: usize) -> Result<Self> {
        let pair = |part: &str| -> Result<[Tensor; 2]> {
            let get = |kind: &str| weights.get(&format!("layers.{number}.{part}.{kind}"));
            Ok([get("weight")?, get("bias")?])
        };
        let sublayer = |[norm, first, second]: [&str; 3]| -> Result<SublayerWeights> {
            Ok(SublayerWeights {
                norm: pair(norm)?,
                first: pair(first)?,
                second: pair(second)?,
                eps: LayerNorm::EPS,
                options: weights.options(),
            })
        };
        Ok(Self {
            attention: sublayer(Self::SUBLAYERS[0])?,
            feed_forward: sublayer(Self::SUBLAYERS[1])?,
        })
    }

    fn specs(number: usize, size: usize) -> Vec<TensorSpec> {
        // Outputs of the first and inputs of the second linear layer: queries, keys and values; 4 D.
        let first_outputs = [3 * size, 4 * size];
        let second_inputs = [size, 4 * size];
        let mut specs = Vec::new();
        for (i, parts) in Self::SUBLAYERS.iter().enumerate() {
            let [norm, first, second] = parts.map(|part| format!("layers.{number}.{part}"));
            specs.extend(LayerNorm::specs(&norm, size));
            specs.extend(Linear::specs(&first, size, first_outputs[i]));
            specs.extend(Linear::specs(&second, second_inputs[i], size));
        }
        specs
    }

    /// All tokens, or the class token alone after the last layer.
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

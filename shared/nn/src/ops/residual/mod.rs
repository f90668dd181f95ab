//! Residual stack: convolutions with batch norm, ReLUs and residual blocks fused into one differentiable
//! operation. Composed of single operations, candle's gradients would be cleared and added between the
//! layers, which takes longer than narrow convolutions.

mod folded;
mod layer;
mod op;
mod pass;
mod train;
mod vjp;

pub use folded::FoldedConvBn;
pub use layer::{Backend, Caches, ConvLayer, Layer, NormGradients};
pub use op::{residual_eval, residual_train};
pub use train::ConvBn;
pub use vjp::ResidualVjp;

/// A part of a residual stack; each ends with a ReLU.
#[derive(Clone, Debug)]
pub enum ResidualLayer<L> {
    /// One layer.
    Plain(L),
    /// Two layers beside a shortcut (He et al., "Deep residual learning", 2016), which is a layer
    /// where the shape changes.
    Block {
        /// Ends with a ReLU of its own.
        first: L,
        /// The shortcut is added to its result.
        second: L,
        /// Without a ReLU.
        shortcut: Option<L>,
    },
}

impl<L> ResidualLayer<L> {
    /// The same part made of other layers.
    pub fn try_map<M, E>(
        &self,
        mut f: impl FnMut(&L) -> Result<M, E>,
    ) -> Result<ResidualLayer<M>, E> {
        Ok(match self {
            Self::Plain(layer) => ResidualLayer::Plain(f(layer)?),
            Self::Block {
                first,
                second,
                shortcut,
            } => ResidualLayer::Block {
                first: f(first)?,
                second: f(second)?,
                shortcut: shortcut.as_ref().map(f).transpose()?,
            },
        })
    }

    /// Its layers, in the order in which they are computed.
    pub fn layers(&self) -> impl Iterator<Item = &L> {
        let (first, shortcut, second) = match self {
            Self::Plain(layer) => (layer, None, None),
            Self::Block {
                first,
                second,
                shortcut,
            } => (first, shortcut.as_ref(), Some(second)),
        };
        std::iter::once(first).chain(shortcut).chain(second)
    }
}

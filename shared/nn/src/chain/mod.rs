//! Layers one after the other, some of them in residual blocks, as one operation: NHWC features
//! come in, activated features go out, differentiable in features and, if they learn, parameters.
//! Between the layers candle's gradients would be cleared and added, pass after pass, which takes
//! longer than narrow convolutions.

mod around;
mod op;
pub(super) mod walk;

pub use around::ResidualVjp;
pub use op::{residual_eval, residual_train};
pub(super) use walk::Layer;

/// A part of a chain; each ends with a ReLU.
#[derive(Clone, Debug)]
pub enum ResidualLayer<L> {
    /// One layer.
    Plain(L),
    /// Two layers beside a shortcut (He et al., "Deep residual learning", 2016), which is a layer
    /// where the shape changes.
    Block {
        /// Ends with a ReLU of its own.
        first: L,
        /// Meets the shortcut.
        second: L,
        /// Without a ReLU.
        shortcut: Option<L>,
    },
}

impl<L> ResidualLayer<L> {
    /// The same link of other layers.
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

//! What a model is made of: names, shapes and how each tensor starts; a model's file checks itself
//! against this list, a fresh model is drawn from it.

/// How a tensor starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Uniform in ±bound: PyTorch's default for convolutions and linear maps, whose bound is
    /// 1 / sqrt(values that meet in one output).
    Uniform(f64),
    /// All the same.
    Constant(f64),
    /// All the same, and not learned: a running statistic.
    Statistic(f64),
}

/// One tensor that a model must have.
#[derive(Clone, Debug)]
pub struct TensorSpec {
    /// PyTorch's name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// How it starts.
    pub init: Init,
}

impl TensorSpec {
    /// A tensor that must be there.
    pub fn new(name: impl Into<String>, shape: impl Into<Vec<usize>>, init: Init) -> Self {
        Self {
            name: name.into(),
            shape: shape.into(),
            init,
        }
    }

    /// A weight whose outputs each add up `fan_in` products.
    pub fn weight(name: impl Into<String>, shape: impl Into<Vec<usize>>, fan_in: usize) -> Self {
        Self::new(name, shape, Init::Uniform((fan_in as f64).powf(-0.5)))
    }
}

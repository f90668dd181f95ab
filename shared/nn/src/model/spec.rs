//! Tensor specifications: name, shape and initialization of each tensor of a model. Files are checked against
//! them, fresh models are drawn from them.

/// Initialization of a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Uniform in ±bound: PyTorch's default for convolutions and linear layers, whose bound is
    /// 1 / sqrt(fan-in).
    Uniform(f64),
    /// A parameter filled with one value.
    Constant(f64),
    /// A buffer in PyTorch's sense, filled with one value: a running statistic, which no gradient moves.
    Buffer(f64),
}

/// One tensor that a model must have.
#[derive(Clone, Debug)]
pub struct TensorSpec {
    /// PyTorch's name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its initialization.
    pub init: Init,
}

impl TensorSpec {
    /// A tensor of any initialization.
    pub fn new(name: impl Into<String>, shape: impl Into<Vec<usize>>, init: Init) -> Self {
        Self {
            name: name.into(),
            shape: shape.into(),
            init,
        }
    }

    /// A weight of this fan-in: products that are added up in one output.
    pub fn weight(name: impl Into<String>, shape: impl Into<Vec<usize>>, fan_in: usize) -> Self {
        Self::new(name, shape, Init::Uniform((fan_in as f64).powf(-0.5)))
    }
}

//! Adam (Kingma and Ba, 2015) on one tensor, in PyTorch's order of operations.

use candle_core::Tensor;

use super::active_set::select;
use base::Result;

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// First and second moment of every element, and the number of steps taken.
pub struct Adam {
    learning_rate: f64,
    mean: Tensor,
    square: Tensor,
    steps: i32,
}

impl Adam {
    /// Before the first step, for tensors of the shape of `like`.
    pub fn new(learning_rate: f64, like: &Tensor) -> Result<Self> {
        Ok(Self {
            learning_rate,
            mean: like.zeros_like()?,
            square: like.zeros_like()?,
            steps: 0,
        })
    }

    /// The values after a step against `gradient`.
    pub fn step(&mut self, values: &Tensor, gradient: &Tensor) -> Result<Tensor> {
        self.steps += 1;
        self.mean = ((&self.mean * BETA1)? + (gradient * (1.0 - BETA1))?)?;
        self.square = ((&self.square * BETA2)? + (gradient.sqr()? * (1.0 - BETA2))?)?;
        let step_size = self.learning_rate / (1.0 - BETA1.powi(self.steps));
        let correction = (1.0 - BETA2.powi(self.steps)).sqrt();
        let scale = ((self.square.sqrt()? / correction)? + EPSILON)?;
        Ok((values - ((&self.mean / scale)? * step_size)?)?)
    }

    /// Drops all rows but these.
    pub fn keep(&mut self, rows: &[usize]) -> Result<()> {
        self.mean = select(&self.mean, rows)?;
        self.square = select(&self.square, rows)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn steps_are_those_of_the_closed_form() {
        let tensor = |value: f32| Tensor::new(&[value], &Device::Cpu).unwrap();
        let mut adam = Adam::new(0.01, &tensor(0.0)).unwrap();
        let mut value = tensor(1.0);
        // After t steps of gradients g: mean = 0.9 mean + 0.1 g, square = 0.999 square +
        // 0.001 g^2; both divided by 1 - beta^t. The first step is lr * g / |g|; the second,
        // with g = 2, then -1, is 0.01 * (0.08 / 0.19) / sqrt(0.004996 / 0.001999).
        value = adam.step(&value, &tensor(2.0)).unwrap();
        assert!((value.to_vec1::<f32>().unwrap()[0] - 0.99).abs() < 1e-7);
        value = adam.step(&value, &tensor(-1.0)).unwrap();
        let expected = 0.99 - 0.01 * (0.08 / 0.19) / (0.004_996f64 / 0.001_999).sqrt();
        assert!((f64::from(value.to_vec1::<f32>().unwrap()[0]) - expected).abs() < 1e-7);
    }
}

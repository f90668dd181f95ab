//! Gradients with respect to pixels, by automatic differentiation.
//!
//! Only the pixels are a candle variable. The model's weights are plain tensors, so nothing else
//! is tracked.

use candle_core::{Tensor, Var};

use super::active_set::select;
use base::{Error, Result};

/// What is not finite, in an error.
pub const GRADIENT: &str = "the gradient of its pixels is";

/// Pixels to differentiate by: a copy of `images` detached from the graph that computed them.
pub fn variable(images: &Tensor) -> Result<Var> {
    Ok(Var::from_tensor(&images.detach())?)
}

/// d `loss` / d `pixels`, of the pixels' shape. `loss` is a scalar; where it is a sum over
/// images, each image's gradient is its own. All zeros when the loss does not depend on the
/// pixels (a model may ignore its input).
pub fn unchecked(pixels: &Var, loss: &Tensor) -> Result<Tensor> {
    match loss.backward()?.remove(pixels) {
        Some(gradient) => Ok(gradient.detach().contiguous()?),
        None => Ok(pixels.zeros_like()?.detach()),
    }
}

/// Vector-Jacobian product: `grad_logits = d loss / d logits` becomes d loss / d pixels, the
/// gradient of `sum(logits * grad_logits)`.
pub fn unchecked_vjp(pixels: &Var, logits: &Tensor, grad_logits: &Tensor) -> Result<Tensor> {
    unchecked(pixels, &(logits * grad_logits)?.sum_all()?)
}

/// The same, read at once; `ids` name the images in errors.
///
/// # Errors
/// [`Error::NonFinite`] when an image's gradient is not finite.
pub fn vjp(pixels: &Var, logits: &Tensor, grad_logits: &Tensor, ids: &[u64]) -> Result<Tensor> {
    let gradient = unchecked_vjp(pixels, logits, grad_logits)?;
    check_finite(&gradient, ids)?;
    Ok(gradient)
}

/// Refuses gradients that are not finite.
///
/// # Errors
/// [`Error::NonFinite`] when an image's gradient is not finite.
pub fn check_finite(gradient: &Tensor, ids: &[u64]) -> Result<()> {
    match finite_rows(gradient)?.iter().position(|finite| !finite) {
        None => Ok(()),
        Some(row) => Err(non_finite(ids[row], GRADIENT)),
    }
}

/// Whether each row of `[B,…]` holds finite numbers only.
pub fn finite_rows(tensor: &Tensor) -> Result<Vec<bool>> {
    let sums = finite_sums(tensor)?.to_vec1::<f32>()?;
    Ok(sums.iter().map(|sum| *sum == 0.0).collect())
}

/// For each row of `[B,…]` 0 if it holds finite numbers only, else NaN.
fn finite_sums(tensor: &Tensor) -> Result<Tensor> {
    // 0 * x is 0 unless x is infinite or not a number.
    Ok(tensor.flatten_from(1)?.affine(0.0, 0.0)?.sum(1)?)
}

/// Whether all numbers of several steps were finite, for each image: kept on the device, and read at the end of an
/// attack, since the device would have to be waited for at every step.
#[derive(Clone, Debug, Default)]
pub struct FiniteCheck {
    /// `[B]`: 0, or NaN for images with a number that was not finite.
    sums: Option<Tensor>,
}

impl FiniteCheck {
    /// Takes a step's numbers, `[B,…]`.
    pub fn add(&mut self, tensor: &Tensor) -> Result<()> {
        let sums = finite_sums(&tensor.detach())?;
        self.sums = Some(match self.sums.take() {
            Some(before) => (before + sums)?,
            None => sums,
        });
        Ok(())
    }

    /// Refuses numbers that were not finite; `what` they are and `ids` of the images are for the error.
    ///
    /// # Errors
    /// [`Error::NonFinite`] for the first image that has one.
    pub fn finish(&self, what: &str, ids: &[u64]) -> Result<()> {
        let Some(sums) = &self.sums else {
            return Ok(());
        };
        let sums = sums.to_vec1::<f32>()?;
        match sums.iter().position(|sum| *sum != 0.0) {
            None => Ok(()),
            Some(row) => Err(non_finite(ids[row], what)),
        }
    }

    /// The images `[B,3,32,32]`, with NaN in all pixels of those that had a number that was not finite: without a
    /// wait for the device, so that what is computed of them is not finite, either.
    pub fn mark(&self, images: &Tensor) -> Result<Tensor> {
        match &self.sums {
            None => Ok(images.clone()),
            Some(sums) => Ok(images.broadcast_add(&sums.reshape(((), 1, 1, 1))?)?),
        }
    }

    /// Drops all images but these.
    pub fn keep(&mut self, rows: &[usize]) -> Result<()> {
        if let Some(sums) = &self.sums {
            self.sums = Some(select(sums, rows)?);
        }
        Ok(())
    }
}

fn non_finite(id: u64, what: &str) -> Error {
    Error::NonFinite(format!("image {id}: {what} not finite"))
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn a_loss_that_ignores_the_pixels_has_gradient_zero_and_a_nan_is_an_error() {
        let images = Tensor::new(&[[0.5f32, 0.0], [0.25, 1.0]], &Device::Cpu).unwrap();
        let pixels = variable(&images).unwrap();
        let constant = Tensor::new(3f32, &Device::Cpu).unwrap();
        let zeros = unchecked(&pixels, &constant).unwrap();
        assert_eq!(zeros.to_vec2::<f32>().unwrap(), [[0.0; 2]; 2]);

        // d sqrt(x) / dx is infinite at 0, which only image 7 holds.
        let loss = pixels.sqrt().unwrap().sum_all().unwrap();
        let gradient = unchecked(&pixels, &loss).unwrap();
        let error = check_finite(&gradient, &[7, 8]).unwrap_err();
        assert_eq!(error.exit_code(), 5);
        assert!(error.to_string().contains("image 7"), "{error}");
    }

    #[test]
    fn one_gradient_of_many_that_is_not_finite_is_found_at_the_end() {
        let rows = |values: [f32; 3]| {
            let values = values.map(|value| [value, 1.0]);
            Tensor::new(&values, &Device::Cpu).unwrap()
        };
        let mut check = FiniteCheck::default();
        check.finish(GRADIENT, &[]).unwrap();
        check.add(&rows([1.0, 2.0, f32::MAX])).unwrap();
        check.finish(GRADIENT, &[4, 5, 6]).unwrap();
        check.add(&rows([0.0, f32::INFINITY, 0.0])).unwrap();
        check.add(&rows([f32::MIN, 0.0, -1.0])).unwrap();
        let error = check.finish(GRADIENT, &[4, 5, 6]).unwrap_err().to_string();
        assert_eq!(error, "image 5: the gradient of its pixels is not finite");
        let images = Tensor::ones((3, 3, 32, 32), candle_core::DType::F32, &Device::Cpu).unwrap();
        let marked = finite_rows(&check.mark(&images).unwrap()).unwrap();
        assert_eq!(marked, [true, false, true]);
        check.keep(&[2, 0]).unwrap();
        check.finish(GRADIENT, &[6, 4]).unwrap();
    }
}

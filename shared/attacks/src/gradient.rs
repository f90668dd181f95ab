//! Gradients with respect to pixels, by automatic differentiation.
//!
//! Only the pixels are a candle variable. The model's weights are plain tensors, so nothing else
//! is tracked.

use candle_core::{Tensor, Var};

use base::{Error, Result};

/// Pixels to differentiate by: a copy of `images` detached from the graph that computed them.
pub fn variable(images: &Tensor) -> Result<Var> {
    Ok(Var::from_tensor(&images.detach())?)
}

/// d `loss` / d `pixels`, of the pixels' shape. `loss` is a scalar; where it is a sum over
/// images, each image's gradient is its own. All zeros when the loss does not depend on the
/// pixels (a model may ignore its input); `ids` name the images in errors.
///
/// # Errors
/// [`Error::NonFinite`] when an image's gradient is not finite.
pub fn gradient(pixels: &Var, loss: &Tensor, ids: &[u64]) -> Result<Tensor> {
    let Some(gradient) = loss.backward()?.remove(pixels) else {
        return Ok(pixels.zeros_like()?.detach());
    };
    let gradient = gradient.detach().contiguous()?;
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
        Some(row) => Err(Error::NonFinite(format!(
            "image {}: the gradient of its pixels is not finite",
            ids[row]
        ))),
    }
}

/// Vector-Jacobian product: `grad_logits = d loss / d logits` becomes d loss / d pixels, the
/// gradient of `sum(logits * grad_logits)`.
///
/// # Errors
/// [`Error::NonFinite`] when an image's gradient is not finite.
pub fn vjp(pixels: &Var, logits: &Tensor, grad_logits: &Tensor, ids: &[u64]) -> Result<Tensor> {
    gradient(pixels, &(logits * grad_logits)?.sum_all()?, ids)
}

/// Whether each row of `[B,…]` holds finite numbers only.
pub fn finite_rows(tensor: &Tensor) -> Result<Vec<bool>> {
    // 0 * x is 0 unless x is infinite or not a number.
    let sums = tensor.flatten_from(1)?.affine(0.0, 0.0)?.sum(1)?;
    Ok(sums
        .to_vec1::<f32>()?
        .iter()
        .map(|sum| *sum == 0.0)
        .collect())
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
        let zeros = gradient(&pixels, &constant, &[7, 8]).unwrap();
        assert_eq!(zeros.to_vec2::<f32>().unwrap(), [[0.0; 2]; 2]);

        // d sqrt(x) / dx is infinite at 0, which only image 7 holds.
        let loss = pixels.sqrt().unwrap().sum_all().unwrap();
        let error = gradient(&pixels, &loss, &[7, 8]).unwrap_err();
        assert_eq!(error.exit_code(), 5);
        assert!(error.to_string().contains("image 7"), "{error}");
    }
}

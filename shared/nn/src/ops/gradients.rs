//! Gradients past candle's graph. Candle's operations take at most three arguments, and its backward pass clears and
//! adds a tensor for the gradient of each: an operation with many parameters hands their gradients over here instead.

use std::cell::RefCell;

use candle_core::{Result, Tensor, backprop::GradStore, bail};

thread_local! {
    /// Parameters and their gradients, from the backward pass that runs on this thread.
    static HANDED_OVER: RefCell<Vec<(Tensor, Tensor)>> = const { RefCell::new(Vec::new()) };
}

/// Hands over the gradient of a parameter that is no argument of the operation; from within its backward pass.
///
/// # Errors
/// If the parameter is computed from others, whose gradients would be missing.
pub fn hand_over(parameter: &Tensor, gradient: Tensor) -> Result<()> {
    if !parameter.is_variable() {
        bail!("a parameter that is no variable: {:?}", parameter.shape())
    }
    HANDED_OVER.with_borrow_mut(|all| all.push((parameter.clone(), gradient)));
    Ok(())
}

/// The gradients of the scalar `loss`, with those of the parameters of models in training mode, which
/// [`Tensor::backward`] alone leaves out.
pub fn backward(loss: &Tensor) -> Result<GradStore> {
    let gradients = loss.backward();
    // Taken of a pass that fails, too: its gradients must not outlive it.
    let handed_over = HANDED_OVER.take();
    let mut gradients = gradients?;
    for (parameter, gradient) in handed_over {
        let sum = match gradients.remove(&parameter) {
            Some(other) => (other + gradient)?,
            None => gradient,
        };
        gradients.insert(&parameter, sum);
    }
    Ok(gradients)
}

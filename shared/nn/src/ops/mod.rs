//! Differentiable operations on candle tensors. Feature maps are NHWC; an operation's file has the same
//! name here, in `cuda` and in the crate `kernels`, where each device's computation is.

pub mod average;
pub mod batch_norm;
pub mod channels_last;
pub mod conv;
mod cpu_slices;
pub mod crop;
pub mod dropout;
pub mod elementwise;
pub mod gradients;
pub mod linear;
pub mod loss;
pub mod pool;
pub mod residual;
pub mod sgd;
pub mod transformer;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex, whatever became of the thread that had it before.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub mod tests;

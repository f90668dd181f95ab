//! Sampling policies: how the attacks' probabilities change over a run.

use base::{Result, random::Stream};

use super::bounds::Bounds;

/// Chooses the attacks' probabilities anew. It has no state beside the current probabilities, which the sampler
/// keeps.
pub trait Policy: Send + Sync {
    /// Refuses bounds that it cannot draw from.
    ///
    /// # Errors
    /// [`Error::Usage`](base::Error::Usage) with the reason.
    fn check(&self, _: &Bounds) -> Result<()> {
        Ok(())
    }

    /// The next probabilities, one per attack, within `bounds`, with sum 1. `current` are the
    /// ones before (at the start: equal parts, projected into the bounds); `errors` the model's
    /// error rates per attack since the last redraw, if known, as many as attacks.
    fn redraw(
        &self,
        current: &[f64],
        errors: Option<&[f64]>,
        bounds: &Bounds,
        stream: &mut Stream,
    ) -> Vec<f64>;
}

/// Parameters of the policies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Learning rate of `adaptive`, finite and at least 0.
    pub eta: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { eta: 1.0 }
    }
}

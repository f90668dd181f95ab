//! Fast adversarial training (Wong, Rice, Kolter, "Fast is better than free", 2020): as `pgd-at` with one step,
//! larger than the ball's radius. It may overfit catastrophically, of which the training loop warns.

use super::pgd_at;
use crate::{config::Perturbation, eps::Eps};

/// One step of 1.25 times the radius.
pub fn defaults() -> Perturbation {
    Perturbation {
        steps: 1,
        step_size: Eps::levels(10),
        ..pgd_at::defaults()
    }
}

//! Evaluation attacks: PGD, APGD, FAB and Square on a trained model, and adaptive attacks on a model
//! with a detector. They measure robustness; the attacks that fill a store are in `attacks`.
//!
//! Everything is f32 on the host but the model's passes, so that the result for an image depends on
//! that image, its label, its id and the seed alone: not on the batch, threads or device order.
#![forbid(unsafe_code)]

pub mod adaptive;
pub mod apgd;
mod batch;
pub mod fab;
mod in_turn;
pub mod loss;
pub mod objective;
pub mod pgd;
mod registry;
mod search;
pub mod square;
mod target;
#[cfg(test)]
mod tests;
mod threat;

pub use batch::Batch;
pub use in_turn::{Copies, ImageCopy};
pub use registry::{ATTACKS, AUTOATTACK, EvaluationAttack, Outcome, Settings};
pub use search::{Found, Search};
pub use target::{Gradient, Target};
pub use threat::{Norm, ThreatModel};

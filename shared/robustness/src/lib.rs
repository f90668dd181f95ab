//! Evaluation attacks: PGD, APGD, FAB and Square on a trained model, and adaptive attacks on a model
//! with a detector. They measure robustness; the attacks that fill a store are in `attacks`.
//!
//! Everything is f32 on the host but the model's passes, so that the result for an image depends on
//! that image, its label, its id and the seed alone: not on the batch, threads or device order.
#![forbid(unsafe_code)]

mod batch;
pub mod fab;
mod registry;
pub mod square;
mod target;
mod threat;

pub use batch::Batch;
pub use registry::{ATTACKS, AUTOATTACK, EvaluationAttack, Outcome, Settings};
pub use target::{Gradient, Target};
pub use threat::{Norm, ThreatModel};

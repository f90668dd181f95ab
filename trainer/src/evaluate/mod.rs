//! Evaluation of a model on a store: accuracy per attack (the paper's Table 4), on the mixed set (Table 2), of the
//! detector (Table 3) and for each attack alone, in the worst case, by distance and by class.
//!
//! `request` measures each split (`measured`): `outcomes` and scores of every variant; the other files compute
//! results of these.

mod auc;
mod classes;
mod detection;
mod distance;
mod measured;
mod mixed;
mod outcomes;
pub mod print;
mod request;
pub mod shift;
mod split;
mod surrogate;
mod thresholds;

pub use self::{
    request::{EvalRequest, describe_model},
    split::{EvalConfig, SplitMetrics, evaluate_split},
    surrogate::{surrogate, val_was_trained_on},
    thresholds::{FPR_PERCENT, thresholds},
};

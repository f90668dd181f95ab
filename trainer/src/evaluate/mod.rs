//! Evaluation of a model on a store: accuracy per attack (the paper's Table 4), on the mixed set (Table 2) and of
//! the detector (Table 3).

mod auc;
mod mixed;
pub mod print;
mod request;
pub mod shift;
mod split;
mod surrogate;

pub use self::{
    request::EvalRequest,
    split::{EvalConfig, SplitMetrics, evaluate_split},
    surrogate::{surrogate, val_was_trained_on},
};

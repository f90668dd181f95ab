//! Options that commands share. Defaults are those of [`crate::config`].

mod joint;
mod perturbation;
mod sampling;
mod training;

use clap::builder::PossibleValuesParser;
use cli::arguments::{Parsed, refuse_given};
use data::Split;
use nn::model::ARCHITECTURES;

pub use self::{
    joint::JointOptions, perturbation::PerturbationOptions, sampling::SamplingOptions,
    training::TrainingOptions,
};

/// Sets a setting that an option was given for.
fn set<T: Clone>(setting: &mut T, option: &Option<T>) {
    if let Some(value) = option {
        setting.clone_from(value);
    }
}

/// The names of the architectures.
pub fn architectures() -> PossibleValuesParser {
    ARCHITECTURES
        .iter()
        .map(|row| row.name)
        .collect::<Vec<_>>()
        .into()
}

/// A split that a model is evaluated on.
pub fn evaluated_split(text: &str) -> Parsed<Split> {
    match text {
        "val" => Ok(Split::Val),
        "test" => Ok(Split::Test),
        _ => Err("a model is evaluated on val or test".into()),
    }
}

//! How the attacks' probabilities change over a run: the current ones, the model's errors and
//! random numbers come in, the next ones go out. One file per policy, one table of them.

use base::{Error, Result, random::Stream};

use super::{adaptive::Adaptive, bounds::Bounds, fixed::Fixed, uniform::Uniform};

/// A way to choose the mixture of attacks anew. It keeps no state: what it needs to remember is
/// the current mixture, which the sampler keeps.
pub trait Policy: Send + Sync {
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

/// What policies can be told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// How fast `adaptive` moves, finite and at least 0.
    pub eta: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { eta: 1.0 }
    }
}

/// A policy in the table.
pub struct Entry {
    /// What `--policy` calls it.
    pub name: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    build: fn(Options) -> Box<dyn Policy>,
}

/// All policies.
pub const POLICIES: [Entry; 3] = [
    Entry {
        name: "fixed",
        about: "the same probabilities always: equal parts, as near as the bounds allow",
        build: |_| Box::new(Fixed),
    },
    Entry {
        name: "uniform",
        about: "anew each time, uniform over all probabilities within the bounds (the paper's)",
        build: |_| Box::new(Uniform),
    },
    Entry {
        name: "adaptive",
        about: "probability flows to the attacks the model is worst at, within the bounds",
        build: |options| Box::new(Adaptive { eta: options.eta }),
    },
];

/// The policy of this name.
///
/// # Errors
/// [`Error::Usage`] for an unknown name or an `eta` that is negative or not finite.
pub fn policy(name: &str, options: Options) -> Result<Box<dyn Policy>> {
    let Some(entry) = POLICIES.iter().find(|entry| entry.name == name) else {
        let names = POLICIES.map(|entry| entry.name).join(", ");
        return Err(Error::Usage(format!("--policy {name} is none of {names}")));
    };
    if !(options.eta.is_finite() && options.eta >= 0.0) {
        return Err(Error::Usage(format!(
            "the adaptive policy's eta is {}, not a number from 0",
            options.eta
        )));
    }
    Ok((entry.build)(options))
}

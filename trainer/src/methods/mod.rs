//! Training methods: one file and one row of [`METHODS`] each.

mod classifier;
mod joint;
mod step;

use std::{fmt, str::FromStr};

use nn::{ComputeDevice, model::Network};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use self::{
    classifier::ClassifierStep,
    joint::JointStep,
    step::{DetectorContext, Step, StepMetrics, StepOutput},
};
use crate::config::Config;

/// A row of [`METHODS`].
pub struct MethodEntry {
    /// Its name on the command line, in `config.toml` and in the models' metadata.
    pub name: &'static str,
    /// Its line of help.
    pub about: &'static str,
    /// Whether it draws from a store (`trainer train`) or has clean images alone (`trainer pretrain`).
    pub uses_store: bool,
    /// Whether it trains a detector, too, and so has the settings of [`crate::config::Joint`].
    pub trains_detector: bool,
    /// What it trains with.
    build: fn(MethodInputs) -> base::Result<Box<dyn Step>>,
}

/// All methods.
pub const METHODS: &[MethodEntry] = &[
    MethodEntry {
        name: "pretrain",
        about: "Cross entropy on clean images: the baseline",
        uses_store: false,
        trains_detector: false,
        build: classifier::build,
    },
    MethodEntry {
        name: "adversarial",
        about: "Cross entropy on the draws",
        uses_store: true,
        trains_detector: false,
        build: classifier::build,
    },
    MethodEntry {
        name: "joint",
        about: "Cross entropy on the draws, plus the distance between detector features (the paper's)",
        uses_store: true,
        trains_detector: true,
        build: joint::build,
    },
];

/// What a method is built from.
pub struct MethodInputs<'a> {
    /// The run's settings.
    pub config: &'a Config,
    /// The model to train, freshly initialized.
    pub target: Box<dyn Network>,
    /// The store's surrogate; none where there is no store.
    pub pretrained: Option<&'a dyn Network>,
    /// The device of all models.
    pub device: &'a ComputeDevice,
}

/// A method of [`METHODS`].
#[derive(Clone, Copy)]
pub struct Method(&'static MethodEntry);

impl Method {
    /// The baseline's.
    pub const PRETRAIN: Self = Self(&METHODS[0]);

    /// The method of this name.
    pub fn find(name: &str) -> Option<Self> {
        METHODS.iter().find(|entry| entry.name == name).map(Self)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// Whether it trains a detector, too.
    pub fn trains_detector(self) -> bool {
        self.0.trains_detector
    }

    /// Models and optimizers in their initial state.
    pub fn build(self, inputs: MethodInputs) -> base::Result<Box<dyn Step>> {
        (self.0.build)(inputs)
    }
}

impl PartialEq for Method {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Method {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::find(name).ok_or_else(|| {
            let names: Vec<&str> = METHODS.iter().map(|entry| entry.name).collect();
            format!("'{name}' is none of {}", names.join(", "))
        })
    }
}

impl Serialize for Method {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Method {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_round_trip_by_name() {
        for entry in METHODS {
            let method: Method = entry.name.parse().unwrap();
            let json = serde_json::to_string(&method).unwrap();
            assert_eq!(json, format!("\"{}\"", entry.name));
            assert_eq!(serde_json::from_str::<Method>(&json).unwrap(), method);
        }
        assert_eq!(Method::PRETRAIN.name(), "pretrain");
        assert!("no-such-method".parse::<Method>().is_err());
    }
}

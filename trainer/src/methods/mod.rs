//! Training methods: one file and one row of [`METHODS`] each. Those that attack the model they train share
//! `adversarial_step`, its attack (`inner`) and the perturbation of weights (`awp`).

mod adversarial_step;
mod atta;
mod awp;
mod classifier;
mod fast_at;
mod inner;
mod joint;
mod pgd_at;
mod step;
mod trades;

use std::{fmt, str::FromStr};

use nn::{ComputeDevice, model::Network};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use self::{
    atta::Perturbations,
    classifier::ClassifierStep,
    joint::JointStep,
    step::{DetectorContext, PendingOutput, Step, StepMetrics, StepOutput},
};
use crate::{
    augment::Augment,
    config::{Config, Perturbation, RobustVal},
};

/// Images of `val` that are attacked after each epoch by methods that attack, unless set.
const ROBUST_VAL_IMAGES: usize = 512;

/// A row of [`METHODS`].
pub struct MethodEntry {
    /// Its name on the command line, in `config.toml` and in the models' metadata.
    pub name: &'static str,
    /// Its line of help.
    pub about: &'static str,
    /// Whether it has a store (`trainer train`) or clean images alone (`trainer pretrain`).
    pub uses_store: bool,
    /// Whether it draws the store's samples; otherwise it is trained on the clean images.
    pub draws_samples: bool,
    /// Whether it trains a detector, too, and so has the settings of [`crate::config::Joint`].
    pub trains_detector: bool,
    /// The attack on the model that is trained, with its defaults; none for methods without one.
    pub perturbation: Option<fn() -> Perturbation>,
    /// What it trains with.
    build: fn(MethodInputs) -> base::Result<Box<dyn Step>>,
}

/// All methods.
pub const METHODS: &[MethodEntry] = &[
    MethodEntry {
        name: "pretrain",
        about: "Cross entropy on clean images: the baseline",
        uses_store: false,
        draws_samples: false,
        trains_detector: false,
        perturbation: None,
        build: classifier::build,
    },
    MethodEntry {
        name: "adversarial",
        about: "Cross entropy on the draws",
        uses_store: true,
        draws_samples: true,
        trains_detector: false,
        perturbation: None,
        build: classifier::build,
    },
    MethodEntry {
        name: "joint",
        about: "Cross entropy on the draws, plus the distance between detector features (the paper's)",
        uses_store: true,
        draws_samples: true,
        trains_detector: true,
        perturbation: None,
        build: joint::build,
    },
    MethodEntry {
        name: "pgd-at",
        about: "Cross entropy under PGD on the model itself (Madry et al. 2018), on the clean images",
        uses_store: true,
        draws_samples: false,
        trains_detector: false,
        perturbation: Some(pgd_at::defaults),
        build: pgd_at::build,
    },
    MethodEntry {
        name: "trades",
        about: "Clean cross entropy plus the divergence under attack (Zhang et al. 2019), on the clean images",
        uses_store: true,
        draws_samples: false,
        trains_detector: false,
        perturbation: Some(trades::defaults),
        build: trades::build,
    },
    MethodEntry {
        name: "fast-at",
        about: "As pgd-at, with one large step (Wong et al. 2020)",
        uses_store: true,
        draws_samples: false,
        trains_detector: false,
        perturbation: Some(fast_at::defaults),
        build: pgd_at::build,
    },
    MethodEntry {
        name: "atta",
        about: "As pgd-at, each image's attack going on from its last perturbation (Zheng et al. 2020)",
        uses_store: true,
        draws_samples: false,
        trains_detector: false,
        perturbation: Some(atta::defaults),
        build: atta::build,
    },
];

/// What a method is built from.
pub struct MethodInputs<'a> {
    /// The run's settings.
    pub config: &'a Config,
    /// The model to train, in its initial state.
    pub target: Box<dyn Network>,
    /// Images to train on.
    pub train_images: usize,
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

    /// The paper's, of `trainer train` unless another one is named.
    pub const JOINT: Self = Self(&METHODS[2]);

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

    /// Whether it is trained with a store, and not by `trainer pretrain`.
    pub fn uses_store(self) -> bool {
        self.0.uses_store
    }

    /// Whether it draws the store's samples.
    pub fn draws_samples(self) -> bool {
        self.0.draws_samples
    }

    /// The defaults of its attack on the model that it trains.
    pub fn perturbation(self) -> Option<Perturbation> {
        self.0.perturbation.map(|defaults| defaults())
    }

    /// The same, or for a method without an attack those of `pgd-at`.
    pub fn perturbation_or_default(self) -> Perturbation {
        self.perturbation().unwrap_or_else(pgd_at::defaults)
    }

    /// The default attack on `val` images, in the ball of the method's own attack.
    pub fn robust_val_or_default(self) -> RobustVal {
        RobustVal::new(ROBUST_VAL_IMAGES, self.perturbation_or_default().eps)
    }

    /// The default augmentation: the paper's, but crops without resizing for methods that perturb, as usual there.
    pub fn augment(self) -> Augment {
        match self.0.perturbation {
            Some(_) => Augment::PADDED,
            None => Augment::default(),
        }
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
mod tests;

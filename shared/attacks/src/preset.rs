//! Parameter presets, and what the registry needs of every attack's parameters.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Attack, AttackTraits, params::RangeCheck};

/// Named defaults of all parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// The paper's Table 1.
    Paper,
    /// The usual values of other libraries and papers, such as 8/255.
    Standard,
}

impl Preset {
    /// `paper` or `standard`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Paper => "paper",
            Self::Standard => "standard",
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Preset {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        [Self::Paper, Self::Standard]
            .into_iter()
            .find(|preset| preset.name() == text)
            .ok_or_else(|| format!("'{text}' is none of paper, standard"))
    }
}

/// An attack's parameters in the registry.
pub trait Parameters: Attack + Clone + Serialize + DeserializeOwned {
    /// How the attack behaves.
    const TRAITS: AttackTraits;
    /// The preset's parameters.
    fn preset(preset: Preset) -> Self;
    /// Refuses parameters that are not finite or out of range.
    fn check(&self) -> RangeCheck;
}

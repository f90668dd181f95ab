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
    /// What the paper's published code computes: as the paper, but C&W descends the margin alone.
    Published,
}

impl Preset {
    /// All presets.
    pub const ALL: [Self; 3] = [Self::Paper, Self::Standard, Self::Published];

    /// `paper`, `standard` or `published`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Paper => "paper",
            Self::Standard => "standard",
            Self::Published => "published",
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
        Self::ALL
            .into_iter()
            .find(|preset| preset.name() == text)
            .ok_or_else(|| {
                let names = Self::ALL.map(Self::name).join(", ");
                format!("'{text}' is none of {names}")
            })
    }
}

/// An attack's parameters in the registry.
pub trait Parameters: Attack + Clone + Serialize + DeserializeOwned {
    /// How the attack behaves.
    const TRAITS: AttackTraits;
    /// Parameters that are written only where they are not the default.
    const OPTIONAL: &[&str] = &[];
    /// The preset's parameters.
    fn preset(preset: Preset) -> Self;
    /// Refuses parameters that are not finite or out of range.
    fn check(&self) -> RangeCheck;
}

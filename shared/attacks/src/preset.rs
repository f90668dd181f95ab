//! What every attack's parameters have: a preset's name comes in, its parameters go out, and what is out of
//! range is refused.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Attack, check::Check};

/// Where the parameters come from that nobody set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// The paper's Table 1.
    Paper,
    /// The values other libraries and papers compare with.
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

/// What an attack's parameters can do besides attacking.
pub(super) trait Parameters: Attack + Clone + Serialize + DeserializeOwned {
    /// The preset's parameters.
    fn preset(preset: Preset) -> Self;
    /// Refuses what is not finite or out of range.
    fn check(&self) -> Check;
}

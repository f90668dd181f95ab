//! The names of the six attacks: a name or the store's number comes in, a [`Kind`] goes out.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// One of the six attacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttackKind {
    /// Additive white noise.
    Gaussian,
    /// One step along the gradient's sign (Goodfellow et al., 2015).
    Fgsm,
    /// The same step many times (Kurakin et al., 2017).
    Bim,
    /// The nearest linearized class boundary (Moosavi-Dezfooli et al., 2016).
    DeepFool,
    /// The smallest perturbation by an optimizer (Carlini and Wagner, 2017).
    Cw,
    /// Neural style transfer (Gatys et al., 2016).
    Nst,
}

impl AttackKind {
    /// All attacks, in the order of their numbers.
    pub const ALL: [Self; 6] = [
        Self::Gaussian,
        Self::Fgsm,
        Self::Bim,
        Self::DeepFool,
        Self::Cw,
        Self::Nst,
    ];

    /// The name of the contract: on command lines, in TOML and in the store's `attack.name`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gaussian => "gaussian",
            Self::Fgsm => "fgsm",
            Self::Bim => "bim",
            Self::DeepFool => "deepfool",
            Self::Cw => "cw",
            Self::Nst => "nst",
        }
    }

    /// The store's `attack.id`, 1 to 6.
    pub const fn id(self) -> u8 {
        self as u8 + 1
    }

    /// The attack of this `attack.id`.
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.id() == id)
    }
}

impl fmt::Display for AttackKind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for AttackKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| {
                let names = Self::ALL.map(Self::name).join(", ");
                format!("'{text}' is none of {names}")
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_lead_back_to_the_attack() {
        for (index, kind) in AttackKind::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(kind.id()), index + 1);
            assert_eq!(AttackKind::from_id(kind.id()), Some(kind));
            assert_eq!(kind.name().parse(), Ok(kind));
            let json = serde_json::to_string(&kind).unwrap();
            assert_eq!(json, format!("\"{kind}\""));
        }
        assert!(
            "pgd"
                .parse::<AttackKind>()
                .unwrap_err()
                .contains("deepfool")
        );
        assert_eq!(AttackKind::from_id(0), None);
    }
}

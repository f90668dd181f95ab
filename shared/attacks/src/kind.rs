//! Names and ids of attacks: parsing, printing and lookup by the store's `attack.id`.

use std::{fmt, str::FromStr};

use super::AttackKind;

/// How an attack behaves: what tests and programs must know about it beside its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttackTraits {
    /// An image that the model misclassifies already is left unchanged.
    pub skips_misclassified: bool,
    /// Where the model's gradient is zero, the image is left unchanged.
    pub needs_gradient: bool,
    /// Takes a style image for each image, so that a split must hold two classes.
    pub needs_style: bool,
    /// Goes on from a given start, such as another store's sample ([`AttackBatch::with_start`](crate::AttackBatch)).
    pub takes_start: bool,
    /// Fools an undefended model on nearly all images.
    pub strong: bool,
    /// Uses the model to find its errors; noise does not.
    pub adversarial: bool,
}

impl AttackKind {
    /// The store's `attack.id`.
    pub const fn id(self) -> u8 {
        self as u8
    }

    /// The attack of this `attack.id`.
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.id() == id)
    }

    /// The paper's six attacks, in the order of their ids.
    pub fn paper() -> Vec<Self> {
        Self::ALL
            .into_iter()
            .filter(|kind| kind.in_paper())
            .collect()
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
    fn names_and_ids_parse_back_to_their_attack_and_rows_are_in_the_order_of_ids() {
        assert!(AttackKind::ALL.is_sorted());
        for kind in AttackKind::ALL {
            assert_eq!(AttackKind::from_id(kind.id()), Some(kind));
            assert_eq!(kind.name().parse(), Ok(kind));
            let json = serde_json::to_string(&kind).unwrap();
            assert_eq!(json, format!("\"{kind}\""));
        }
        let unknown = "no-such-attack".parse::<AttackKind>().unwrap_err();
        assert!(unknown.contains("deepfool"), "{unknown}");
        assert_eq!(AttackKind::from_id(0), None);
    }

    #[test]
    fn ids_of_the_papers_attacks_are_the_ones_in_content_hashes() {
        let ids = AttackKind::paper()
            .into_iter()
            .map(|kind| (kind.id(), kind.name()));
        let expected = [
            (1, "gaussian"),
            (2, "fgsm"),
            (3, "bim"),
            (4, "deepfool"),
            (5, "cw"),
            (6, "nst"),
        ];
        assert!(ids.eq(expected));
    }
}

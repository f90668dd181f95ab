//! The paper's own results, for comparison: "A Simple Structure For Building A Robust Model"
//! (Tan, Gao, Li, 2022). Parts of 1, measured on its 5,000 held-out training images.

/// Table 4: model, then clean, Gaussian, FGSM, BIM, DeepFool, C&W, NST.
pub const BY_ATTACK: [(&str, [f64; 7]); 3] = [
    (
        "baseline",
        [0.9012, 0.6616, 0.3070, 0.1748, 0.1984, 0.1074, 0.6236],
    ),
    (
        "adversarial",
        [0.8737, 0.8282, 0.7510, 0.7906, 0.8670, 0.7736, 0.8360],
    ),
    (
        "joint",
        [0.8916, 0.8542, 0.7834, 0.8296, 0.8884, 0.8066, 0.8592],
    ),
];

/// The columns of [`BY_ATTACK`] after the first.
pub const ATTACKS: [&str; 6] = ["gaussian", "fgsm", "bim", "deepfool", "cw", "nst"];

/// Adversarial share of Table 2.
pub const MIXED_SHARE: f64 = 0.5;

/// Table 2: model and accuracy on the mixed set. The published code sorts the images by class before it takes the
/// first half as the clean ones and a block for each attack, so that this set mixes classes with attacks.
pub const MIXED: [(&str, f64); 3] = [
    ("baseline", 0.6778),
    ("adversarial", 0.8464),
    ("joint", 0.8688),
];

/// The accuracy on a mixed set in random order that a row of Table 4 implies: a share `1 - share` clean, the rest in
/// equal parts of the six attacks.
pub fn implied_mixed(by_attack: &[f64; 7], share: f64) -> f64 {
    let [clean, attacks @ ..] = by_attack;
    let attacked = attacks.iter().sum::<f64>() / attacks.len() as f64;
    (1.0 - share) * clean + share * attacked
}

/// Table 3: input, share, layers, the detector's accuracy and the classifier's.
pub const DETECTOR: [(&str, f64, u32, f64, f64); 10] = [
    ("low", 0.5, 2, 0.7350, 0.8694),
    ("low", 0.5, 4, 0.7340, 0.8658),
    ("low", 0.75, 2, 0.8364, 0.8416),
    ("low", 0.75, 4, 0.8332, 0.8420),
    ("low", 0.75, 8, 0.8302, 0.8450),
    ("full", 0.5, 2, 0.7506, 0.8688),
    ("full", 0.5, 4, 0.7538, 0.8674),
    ("full", 0.75, 2, 0.8536, 0.8462),
    ("full", 0.75, 4, 0.8458, 0.8406),
    ("full", 0.75, 8, 0.8492, 0.8446),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_4_implies_other_accuracies_on_the_mixed_set_than_table_2() {
        // numpy: 0.5 * row[0] + 0.5 * row[1:].mean()
        let implied = [0.6233, 0.8407, 0.8642];
        for ((_, row), implied) in BY_ATTACK.iter().zip(implied) {
            assert!((implied_mixed(row, MIXED_SHARE) - implied).abs() < 1e-4);
            assert_eq!(implied_mixed(row, 0.0), row[0]);
        }
        let (_, joint) = &BY_ATTACK[2];
        // 5.0214 / 6
        assert!((implied_mixed(joint, 1.0) - 0.8369).abs() < 1e-9);
    }
}

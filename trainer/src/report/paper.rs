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

/// Table 2: model and accuracy on the mixed set, at a share of 0.5.
pub const MIXED: [(&str, f64); 3] = [
    ("baseline", 0.6778),
    ("adversarial", 0.8464),
    ("joint", 0.8688),
];

/// Table 3, its 2-layer detectors: input, share, accuracy.
pub const DETECTOR: [(&str, f64, f64); 4] = [
    ("low", 0.5, 0.7350),
    ("low", 0.75, 0.8364),
    ("full", 0.5, 0.7506),
    ("full", 0.75, 0.8536),
];

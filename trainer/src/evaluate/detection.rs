//! Detection of each attack's samples, apart from each other: ROC AUC and true positive rates (Carlini et al., "On
//! evaluating adversarial robustness", 2019).

use attacks::AttackKind;

use super::{
    auc::roc_auc,
    outcomes::Outcomes,
    thresholds::{FPR_PERCENT, Thresholds},
};
use crate::metrics::{AttackDetection, Detection, OrderedMap, Threshold, TruePositiveRate};

/// A detector's results for each attack, from its scores `[n, 1 + a]` and the evaluated model's outcomes.
pub fn detection(outcomes: &Outcomes, scores: &[f32], thresholds: &Thresholds) -> Detection {
    let table = outcomes.table;
    let variants = 1 + table.attacks.len();
    let clean: Vec<f32> = scores.iter().step_by(variants).copied().collect();
    let fixed: Vec<(f64, f32)> = FPR_PERCENT
        .map(|percent| percent as f64 / 100.0)
        .into_iter()
        .zip(thresholds.iter().flatten().copied())
        .collect();
    let attack = |(name, variant): (&String, usize)| {
        let of = |chosen: &dyn Fn(usize) -> bool| -> Vec<f32> {
            let rows = (0..table.len()).filter(|row| chosen(*row));
            rows.map(|row| scores[row * variants + variant]).collect()
        };
        let changed = of(&|row| table.is_changed(row, variant));
        let successful = of(&|row| outcomes.is_fooled(row, variant));
        let detection = AttackDetection {
            adversarial: is_adversarial(name),
            changed: changed.len() as u64,
            successful: successful.len() as u64,
            auc: auc(&clean, &changed),
            tpr: fixed
                .iter()
                .map(|&(fpr, score)| TruePositiveRate {
                    fpr,
                    changed: share_above(&changed, score),
                    successful: share_above(&successful, score),
                })
                .collect(),
        };
        (name.clone(), detection)
    };
    let measured = |&(fpr, score): &(f64, f32)| {
        Some(Threshold {
            fpr,
            score: f64::from(score),
            measured_fpr: share_above(&clean, score)?,
        })
    };
    Detection {
        thresholds: fixed.iter().filter_map(measured).collect(),
        no_thresholds: thresholds.as_ref().err().cloned(),
        attacks: OrderedMap(table.attacks.iter().zip(1..).map(attack).collect()),
    }
}

/// Whether an attack is adversarial: any that this version does not know is.
fn is_adversarial(attack: &str) -> bool {
    let kind = attack.parse::<AttackKind>();
    kind.map_or(true, |kind| kind.traits().adversarial)
}

/// Area under the ROC curve of clean against changed images.
fn auc(clean: &[f32], changed: &[f32]) -> Option<f64> {
    let truths = [vec![false; clean.len()], vec![true; changed.len()]].concat();
    roc_auc(&[clean, changed].concat(), &truths)
}

/// Part of the scores above a threshold; none without scores.
fn share_above(scores: &[f32], threshold: f32) -> Option<f64> {
    let above = scores.iter().filter(|score| **score > threshold).count();
    (!scores.is_empty()).then(|| above as f64 / scores.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::{super::outcomes::tests::small_split, *};

    /// Scores of the five images of `small_split`: clean, a, b.
    const SCORES: [f32; 15] = [
        -3.0, -1.0, 2.0, -2.0, -2.0, -1.0, -1.5, 0.5, 1.5, -0.5, 0.5, 3.0, 0.5, 0.5, -0.25,
    ];

    fn detect(thresholds: &Thresholds) -> Detection {
        let (mut table, predictions) = small_split();
        table.attacks = ["gaussian", "fgsm"].map(String::from).to_vec();
        let outcomes = Outcomes {
            table: &table,
            predictions: &predictions,
        };
        detection(&outcomes, &SCORES, thresholds)
    }

    #[test]
    fn each_attack_has_its_own_auc_and_true_positive_rates_at_shared_thresholds() {
        let found = detect(&Ok(vec![0.5, -0.75]));
        assert_eq!(found.no_thresholds, None);
        let thresholds = [(0.01, 0.5, 0.0), (0.05, -0.75, 0.4)];
        let measured = found.thresholds.iter();
        assert!(
            measured
                .map(|t| (t.fpr, t.score, t.measured_fpr))
                .eq(thresholds)
        );

        let rates = |attack: &AttackDetection| -> Vec<(Option<f64>, Option<f64>)> {
            let rates = attack.tpr.iter();
            rates.map(|rate| (rate.changed, rate.successful)).collect()
        };
        // Clean -3, -2, -1.5, -0.5, 0.5.
        // scikit-learn: roc_auc_score([0] * 5 + [1] * 4, [-3, -2, -1.5, -.5, .5, -1, -2, .5, .5])
        let noise = found.attacks.get("gaussian").unwrap();
        assert!(!noise.adversarial);
        assert_eq!((noise.changed, noise.successful), (4, 1));
        assert_eq!(noise.auc, Some(0.675));
        assert_eq!(
            rates(noise),
            [(Some(0.0), Some(0.0)), (Some(0.5), Some(0.0))]
        );
        // roc_auc_score([0] * 5 + [1] * 5, [-3, -2, -1.5, -.5, .5, 2, -1, 1.5, 3, -.25])
        let fgsm = found.attacks.get("fgsm").unwrap();
        assert!(fgsm.adversarial);
        assert_eq!((fgsm.changed, fgsm.successful), (5, 3));
        assert_eq!(fgsm.auc, Some(0.88));
        let third = Some(1.0 / 3.0);
        assert_eq!(
            rates(fgsm),
            [(Some(0.6), third), (Some(0.8), Some(2.0 / 3.0))]
        );
    }

    #[test]
    fn without_thresholds_there_are_no_true_positive_rates_and_the_reason_is_kept() {
        let found = detect(&Err("val has no images".into()));
        assert_eq!(found.no_thresholds.as_deref(), Some("val has no images"));
        assert!(found.thresholds.is_empty());
        let mut attacks = found.attacks.0.iter();
        assert!(attacks.all(|(_, attack)| attack.tpr.is_empty() && attack.auc.is_some()));
    }

    #[test]
    fn without_a_successful_sample_its_true_positive_rate_is_absent() {
        let (table, _) = small_split();
        let predictions: Vec<u8> = table.labels.iter().flat_map(|label| [*label; 3]).collect();
        let outcomes = Outcomes {
            table: &table,
            predictions: &predictions,
        };
        let found = detection(&outcomes, &SCORES, &Ok(vec![0.5, -0.75]));
        for (name, attack) in &found.attacks.0 {
            assert!(attack.adversarial, "{name} is no attack of the registry");
            assert_eq!(attack.successful, 0);
            let mut rates = attack.tpr.iter();
            assert!(rates.all(|rate| rate.successful.is_none() && rate.changed.is_some()));
        }
    }
}

//! What the report shows of the stored samples: worst case, the paper's two rows of Table 2, detection by attack,
//! accuracy by distance and by class; and files of versions that did not measure these.

use std::{fs, path::PathBuf};

use super::fixtures::{TestRuns, config};
use crate::{
    metrics::{
        AttackDetection, ClassResults, Confusion, Detection, DetectorMetrics, DistanceCurves,
        DistancePoint, OrderedMap, Threshold, TruePositiveRate,
    },
    report::evaluation::{Baseline, Evaluation, Mixed, Model, SplitResult, Surrogate},
};

fn named<T: Clone>(values: [T; 2]) -> OrderedMap<T> {
    let names = ["gaussian", "fgsm"].map(String::from);
    OrderedMap(std::iter::zip(names, values).collect())
}

fn curves(accuracies: [f64; 3]) -> DistanceCurves {
    let points = |distances: [f64; 3]| -> Vec<DistancePoint> {
        std::iter::zip(distances, accuracies)
            .map(|(distance, accuracy)| DistancePoint { distance, accuracy })
            .collect()
    };
    DistanceCurves {
        l2: points([0.0, 0.25, 1.0]),
        linf: points([0.0, 1.0 / 255.0, 8.0 / 255.0]),
    }
}

fn detection() -> Detection {
    let threshold = |fpr: f64, score: f64, measured_fpr: f64| Threshold {
        fpr,
        score,
        measured_fpr,
    };
    let attack = |adversarial: bool, successful: Option<f64>| AttackDetection {
        adversarial,
        changed: 990,
        successful: if successful.is_some() { 321 } else { 0 },
        auc: Some(0.7654),
        tpr: [(0.01, 0.123), (0.05, 0.456)]
            .map(|(fpr, changed)| TruePositiveRate {
                fpr,
                changed: Some(changed),
                successful,
            })
            .to_vec(),
    };
    Detection {
        thresholds: vec![threshold(0.01, 2.5, 0.0123), threshold(0.05, -1.25, 0.0456)],
        no_thresholds: None,
        attacks: named([attack(false, None), attack(true, Some(0.789))]),
    }
}

fn classes() -> ClassResults {
    let confusion = |matrix: [[u64; 2]; 2]| Confusion {
        accuracy: vec![Some(matrix[0][0] as f64 / 500.0), None],
        matrix: matrix.map(Vec::from).to_vec(),
    };
    ClassResults {
        names: ["cat", "<dog>"].map(String::from).to_vec(),
        images: vec![500, 0],
        clean: confusion([[450, 50], [0, 0]]),
        worst_case: Some(confusion([[123, 377], [0, 0]])),
    }
}

fn evaluation(share: f64) -> Evaluation {
    let split = |split: &str| SplitResult {
        split: split.into(),
        images: 1000,
        clean: Some(0.9),
        attacks: named([0.8, 0.7]),
        worst_case: Some(0.6123),
        mixed: Mixed {
            share,
            accuracy: Some(0.85),
        },
        detector: Some(DetectorMetrics {
            accuracy: 0.7,
            auc: Some(0.75),
        }),
        baseline: Some(Baseline {
            clean: Some(0.91),
            attacks: named([0.6, 0.2]),
            worst_case: Some(0.0321),
            mixed: Some(0.65),
            by_distance: Some(curves([0.91, 0.5, 0.25])),
        }),
        unchanged: OrderedMap::default(),
        detection: Some(detection()),
        by_distance: Some(curves([0.9, 0.8, 0.7])),
        classes: Some(classes()),
    };
    Evaluation {
        model: Model {
            name: "resnet34".into(),
            method: "joint".into(),
            width: 64,
            epoch: 35,
        },
        surrogate: Surrogate {
            name: "resnet34".into(),
            sha256: "0123456789abcdef".into(),
        },
        splits: ["val", "test"].map(split).to_vec(),
        warnings: Vec::new(),
    }
}

fn run(runs: &TestRuns, evaluation: &Evaluation) -> PathBuf {
    let folder = runs.run("run", &config("joint", 3), 3, true);
    let text = serde_json::to_vec_pretty(evaluation).unwrap();
    fs::write(folder.join("report.json"), text).unwrap();
    folder
}

fn page(evaluation: &Evaluation) -> String {
    let runs = TestRuns::new();
    let folder = run(&runs, evaluation);
    runs.page(&[folder], None)
}

#[test]
fn report_json_reads_back_and_older_files_without_its_new_fields_are_read() {
    let evaluation = evaluation(0.5);
    let text = serde_json::to_string(&evaluation).unwrap();
    assert_eq!(
        serde_json::from_str::<Evaluation>(&text).unwrap(),
        evaluation
    );

    let runs = TestRuns::new();
    let old = runs.evaluated("old", &config("joint", 3), 3, true, 0.0);
    let old = fs::read_to_string(old.join("report.json")).unwrap();
    let old: Evaluation = serde_json::from_str(&old).unwrap();
    for split in &old.splits {
        assert_eq!((split.worst_case, &split.by_distance), (None, &None));
        assert!(split.detection.is_none() && split.classes.is_none());
        assert_eq!(split.baseline.as_ref().unwrap().worst_case, None);
    }
}

#[test]
fn a_report_of_older_files_says_what_was_not_measured() {
    let runs = TestRuns::new();
    let old = runs.evaluated("old", &config("joint", 3), 3, true, 0.0);
    let page = runs.page(&[old], None);
    assert!(page.contains("No run was evaluated by distance."));
    assert!(page.contains("No run was evaluated by class."));
    assert!(!page.contains("The detector by attack"));
}

#[test]
fn the_worst_case_is_a_column_and_the_caption_says_transfer() {
    let page = page(&evaluation(0.5));
    let head = "<th scope=\"col\">Gaussian (noise)</th><th scope=\"col\">FGSM</th>\
                <th scope=\"col\">Worst case</th>";
    assert_eq!(page.matches(head).count(), 2);
    assert!(page.contains("<td>60.0</td><td>20.0</td><td>3.2</td>"));
    let model = "<td><strong>80.0</strong></td><td><strong>70.0</strong></td>\
                 <td><strong>61.2</strong></td>";
    assert!(page.contains(model), "{page}");
    // The paper has no worst case.
    assert!(page.contains("<td>85.4</td><td>78.3</td><td>–</td>"));
    assert!(
        page.contains("transfer from it, not robustness against an attack on the model itself")
    );
}

#[test]
fn the_mixed_set_shows_table_2_and_what_table_4_implies_at_each_share() {
    let page = page(&evaluation(0.25));
    let row = |model: &str, share: &str, accuracy: &str| {
        format!(
            "<th scope=\"row\">Paper, {model}</th><td>{share}</td><td>{accuracy}</td><td>–</td>"
        )
    };
    for (model, share, accuracy) in [
        ("baseline, Table 2", "50.0", "67.8"),
        ("joint, Table 2", "50.0", "86.9"),
        ("baseline, implied by Table 4", "50.0", "62.3"),
        ("adversarial, implied by Table 4", "50.0", "84.1"),
        ("joint, implied by Table 4", "50.0", "86.4"),
        // 0.75 * 0.8916 + 0.25 * 0.8369
        ("joint, implied by Table 4", "25.0", "87.8"),
    ] {
        assert_eq!(
            page.matches(&row(model, share, accuracy)).count(),
            1,
            "{model}, {share}"
        );
    }
    assert_eq!(page.matches(", implied by Table 4<").count(), 6);
}

#[test]
fn the_detector_has_a_table_by_attack_with_noise_apart() {
    let page = page(&evaluation(0.5));
    let caption = "run, val split; 1 % FPR: scores above 2.5, which 1.23 % of this split's clean images have; \
                   5 % FPR: scores above -1.25, which 4.56 %";
    assert!(page.contains(caption), "{page}");
    let fgsm = "FGSM</th><td>990</td><td>321</td><td>0.765</td><td>12.3</td><td>78.9</td>\
                <td>45.6</td><td>78.9</td>";
    let noise = "Gaussian<small>noise, not adversarial</small></th><td>990</td><td>0</td>\
                 <td>0.765</td><td>12.3</td><td>–</td><td>45.6</td><td>–</td>";
    let (fgsm, noise) = (page.find(fgsm).unwrap(), page.find(noise).unwrap());
    assert!(fgsm < noise, "noise is last");

    let mut without = evaluation(0.5);
    for split in &mut without.splits {
        let detection = split.detection.as_mut().unwrap();
        detection.thresholds.clear();
        detection.no_thresholds = Some("val has no images".into());
        for (_, attack) in &mut detection.attacks.0 {
            attack.tpr.clear();
        }
    }
    let page = self::page(&without);
    assert!(page.contains("since there are no thresholds: val has no images."));
    assert!(page.contains("<td>990</td><td>321</td><td>0.765</td></tr>"));
}

#[test]
fn accuracy_by_distance_is_drawn_for_each_split_and_norm() {
    let page = page(&evaluation(0.5));
    // Beside the run's four charts over epochs.
    assert_eq!(page.matches("<svg").count(), 2 * 2 + 4);
    for title in ["L2 distance, val", "Linf distance, test"] {
        let title = format!("<figcaption>Accuracy in percent against the {title}</figcaption>");
        assert_eq!(page.matches(&title).count(), 1, "{title}");
    }
    // The last points, and the one baseline.
    assert_eq!(page.matches("run, L2 distance 1: 70.0").count(), 2);
    assert_eq!(
        page.matches("run, Linf distance, in 255ths 8: 70.0")
            .count(),
        2
    );
    assert_eq!(
        page.matches("Baseline 01234567, L2 distance 1: 25.0")
            .count(),
        2
    );
    assert!(page.contains(">0.25</text>") && page.contains("<g class=\"c0 dashed\">"));
}

#[test]
fn classes_have_their_accuracy_and_confusion_matrix_clean_and_in_the_worst_case() {
    let page = page(&evaluation(0.5));
    let row = "cat</th><td>500</td><td>90.0</td><td>&lt;dog&gt; (50)</td><td>24.6</td>\
               <td>&lt;dog&gt; (377)</td>";
    assert_eq!(page.matches(row).count(), 2);
    assert!(page.contains("&lt;dog&gt;</th><td>0</td><td>–</td><td>–</td><td>–</td><td>–</td>"));
    for matrix in [
        "cat</th><td>450</td><td>50</td>",
        "cat</th><td>123</td><td>377</td>",
    ] {
        assert_eq!(page.matches(matrix).count(), 2, "{matrix}");
    }
    assert!(page.contains("<summary>run, test split</summary>") && !page.contains("<dog>"));
}

#[test]
fn a_report_of_results_of_other_lengths_than_expected_is_written() {
    let mut odd = evaluation(0.5);
    let classes = odd.splits[0].classes.as_mut().unwrap();
    classes.images.clear();
    classes.clean.accuracy.clear();
    classes.clean.matrix = vec![vec![1, 2, 3, 4]];
    let detection = odd.splits[0].detection.as_mut().unwrap();
    detection.thresholds.truncate(1);
    let curves = odd.splits[0].by_distance.as_mut().unwrap();
    curves.l2 = Vec::new();
    curves.linf[1].distance = 1e300;
    assert!(page(&odd).contains("Accuracy by class"));
}

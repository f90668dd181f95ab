//! Measurements of `trainer eval` on stored samples, compared with the store's rows: worst case, distances, classes
//! and detection by attack.

use std::fs;

use candle_core::Device;
use data::Split;
use nn::model::Weights;
use serde_json::Value;
use store::{InMemorySplit, Store};

use crate::{
    common::TestDir,
    mismatches::{stderr, stdout},
    test_store,
};
use library_tests::{assert_success, edit};

const EVAL: [&str; 5] = ["eval", "--db", "a.db", "--model", "run/best.safetensors"];

fn load(dir: &TestDir, split: Split) -> InMemorySplit {
    Store::open(&dir.path("a.db")).unwrap().load(split).unwrap()
}

/// The test split's result.
fn on_test(evaluation: &Value) -> &Value {
    let mut splits = evaluation["splits"].as_array().unwrap().iter();
    splits.find(|result| result["split"] == "test").unwrap()
}

/// Wrong on every fifth clean image, and on samples by image and attack.
fn predict(id: u64, attack: i64, label: u8) -> u8 {
    let wrong = match attack {
        0 => id.is_multiple_of(5),
        attack => (id / 2 + attack as u64).is_multiple_of(4),
    };
    if wrong { (label + 1) % 10 } else { label }
}

#[test]
fn worst_case_and_accuracy_by_distance_are_those_of_the_stores_rows() {
    let dir = TestDir::new();
    let db = dir.path("a.db");
    fs::remove_file(&db).unwrap();
    let model = dir.path("model.safetensors");
    test_store::write_predictions(&dir.path("data"), &model, &db, predict);
    let evaluation = dir.eval(&["--model", "model.safetensors"]);
    let (result, table) = (&on_test(&evaluation)["baseline"], load(&dir, Split::Test));
    let attacks = table.attacks.len();
    let right =
        |row: usize, attack: usize| table.preds[row * attacks + attack] == table.labels[row];
    let clean = |row: usize| table.clean_preds[row] == table.labels[row];
    let share = |right: &dyn Fn(usize) -> bool| {
        let rows = (0..table.len()).filter(|row| right(*row));
        rows.count() as f64 / table.len() as f64
    };
    let worst = share(&|row| clean(row) && (0..attacks).all(|attack| right(row, attack)));
    assert_eq!(result["worst_case"], worst);
    // Numbers that tell them apart: the test could fail.
    assert!(0.0 < worst && worst < share(&clean) && share(&clean) < 1.0);

    // Distances anew, from the pixels.
    let distances = |row: usize, attack: usize| {
        store::distances(table.variant(row, 0), table.variant(row, 1 + attack))
    };
    for norm in ["l2", "linf"] {
        let mut seen = Vec::new();
        for point in result["by_distance"][norm].as_array().unwrap() {
            let limit = point["distance"].as_f64().unwrap();
            let within = |row, attack| match distances(row, attack) {
                (l2, _) if norm == "l2" => l2 <= limit,
                (_, linf) => linf <= limit + 1e-9,
            };
            let expected = share(&|row| {
                let mut samples = 0..attacks;
                clean(row) && samples.all(|attack| right(row, attack) || !within(row, attack))
            });
            assert_eq!(point["accuracy"], expected, "{norm} {limit}");
            seen.push(expected);
        }
        assert_eq!(seen[0], share(&clean));
        seen.dedup();
        assert!(seen.len() > 1, "{norm} {seen:?}");
    }
}

#[test]
fn confusion_matrices_have_the_stores_classes_and_add_up_to_the_accuracies() {
    let dir = TestDir::new();
    let evaluation = dir.eval(&["--model", "model.safetensors"]);
    let (result, table) = (on_test(&evaluation), load(&dir, Split::Test));
    let names = Store::open(&dir.path("a.db"))
        .unwrap()
        .meta()
        .spec
        .classes
        .clone();
    let classes = &result["classes"];
    assert_eq!(classes["names"], serde_json::json!(names));
    for (class, images) in classes["images"].as_array().unwrap().iter().enumerate() {
        let labels = table.labels.iter();
        let of_class = labels.filter(|label| usize::from(**label) == class);
        assert_eq!(*images, of_class.count());
    }
    for kind in ["clean", "worst_case"] {
        let matrix: Vec<Vec<u64>> =
            serde_json::from_value(classes[kind]["matrix"].clone()).unwrap();
        let right: u64 = (0..names.len()).map(|class| matrix[class][class]).sum();
        assert_eq!(result[kind], right as f64 / table.len() as f64);
        assert_eq!(matrix.iter().flatten().sum::<u64>(), table.len() as u64);
    }
}

#[test]
fn detector_thresholds_come_from_clean_val_images_whatever_split_is_evaluated() {
    let dir = TestDir::new();
    assert_success(&dir.joint("run", &["--epochs", "2"]).output().unwrap());
    let both = dir.eval(&["--model", "run/best.safetensors"]);
    let only = dir.eval(&["--model", "run/best.safetensors", "--split", "test"]);
    let detection = &on_test(&both)["detection"];
    assert_eq!(*detection, on_test(&only)["detection"]);
    let scores = |evaluation: &Value, split: usize| -> Vec<Value> {
        let thresholds = &evaluation["splits"][split]["detection"]["thresholds"];
        let thresholds = thresholds.as_array().unwrap().iter();
        thresholds.map(|at| at["score"].clone()).collect()
    };
    assert_eq!(scores(&both, 0), scores(&both, 1));
    // Ten val images: neither 1 % nor 5 % of them is one.
    let val = &both["splits"][0]["detection"]["thresholds"];
    for (threshold, fpr) in val.as_array().unwrap().iter().zip([0.01, 0.05]) {
        assert_eq!(
            (&threshold["fpr"], &threshold["measured_fpr"]),
            (&fpr.into(), &0.0.into())
        );
    }
    let table = load(&dir, Split::Test);
    let changed = |name: &str| {
        let attack = table
            .attacks
            .iter()
            .position(|attack| attack == name)
            .unwrap();
        let changed = table
            .changed
            .iter()
            .skip(attack)
            .step_by(table.attacks.len());
        changed.filter(|changed| **changed).count()
    };
    for (name, adversarial) in [("gaussian", false), ("fgsm", true), ("bim", true)] {
        let attack = &detection["attacks"][name];
        assert_eq!(attack["adversarial"], adversarial, "{name}");
        assert_eq!(attack["changed"], changed(name), "{name}");
        assert_eq!(attack["tpr"].as_array().unwrap().len(), 2);
        assert!((0.0..=1.0).contains(&attack["auc"].as_f64().unwrap()));
        let none = attack["successful"] == 0;
        assert_eq!(attack["tpr"][0]["successful"].is_null(), none);
    }
    let text = stdout(&dir.run(&EVAL));
    for words in [
        "worst",
        "TPR@1%",
        "(noise, not adversarial)",
        "L2 <=",
        "255 Linf <=",
        "class",
    ] {
        assert!(text.contains(words), "no {words} in {text}");
    }
    // The cells of a table end where their headings end.
    let lines: Vec<&str> = text.lines().collect();
    let at = lines
        .iter()
        .position(|line| line.starts_with("val "))
        .unwrap();
    let end = |line: &str| line.split("  (").next().unwrap().chars().count();
    assert_eq!(
        [1, 2].map(|below| end(lines[at + below])),
        [end(lines[at]); 2]
    );
    let at = lines
        .iter()
        .position(|line| line.starts_with("detector  ") && line.contains("TPR"));
    let at = at.unwrap();
    assert_eq!(
        [1, 2, 3].map(|below| end(lines[at + below])),
        [end(lines[at]); 3]
    );
}

#[test]
fn a_detector_trained_on_val_images_of_the_store_has_no_thresholds() {
    let dir = TestDir::new();
    assert_success(&dir.joint("run", &["--epochs", "1"]).output().unwrap());
    let path = dir.path("run/detector.safetensors");
    let (weights, mut metadata) = Weights::read(&path, &Device::Cpu).unwrap();
    metadata.insert("split_seed".into(), "1".into());
    weights.write(&path, &metadata).unwrap();
    for arguments in [&[][..], &["--split", "test"]] {
        let evaluation = dir.eval(&[&["--model", "run/best.safetensors"], arguments].concat());
        let detection = &on_test(&evaluation)["detection"];
        assert_eq!(detection["thresholds"], serde_json::json!([]));
        let reason = detection["no_thresholds"].as_str().unwrap();
        assert!(
            reason.contains("the detector was trained with --seed 1"),
            "{reason}"
        );
        assert!(detection["attacks"]["fgsm"]["auc"].is_number());
    }
    let text = stdout(&dir.run(&EVAL));
    assert!(
        text.contains("no true positive rates: the detector was trained"),
        "{text}"
    );
}

#[test]
fn a_damaged_val_split_leaves_the_evaluation_on_test_without_thresholds() {
    let dir = TestDir::new();
    assert_success(&dir.joint("run", &["--epochs", "1"]).output().unwrap());
    let db = dir.path("a.db");
    let (intact, table) = (fs::read(&db).unwrap(), load(&dir, Split::Val));
    let blob = table.variant(4, 0);
    let mut places = intact.windows(blob.len()).enumerate();
    let (place, _) = places.find(|(_, window)| *window == blob).unwrap();
    let before = dir.eval(&["--model", "run/best.safetensors", "--split", "test"]);
    edit(&db, |bytes| bytes[place + 1000] ^= 1);
    dir.assert_refused(&mut dir.command(&EVAL), 3, &["a.db", "image "]);
    let output = dir.run(&[&EVAL[..], &["--split", "test", "--json"]].concat());
    assert_success(&output);
    assert!(stderr(&output).contains("so the detector has no thresholds"));
    let after: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (before, after) = (on_test(&before), on_test(&after));
    assert_eq!(before["clean"], after["clean"]);
    assert_eq!(after["detection"]["thresholds"], serde_json::json!([]));
    assert!(
        after["detection"]["no_thresholds"]
            .as_str()
            .unwrap()
            .contains("a.db")
    );
    let auc = |result: &Value| result["detection"]["attacks"]["bim"]["auc"].clone();
    assert_eq!(auc(before), auc(after));
}

//! Results of `trainer eval` and `trainer report`: consistent with each other and with the store.

use std::fs;

use serde_json::{Value, json};

use crate::{common::TestDir, test_store::ATTACKS};
use library_tests::assert_success;

fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[test]
fn evaluating_the_surrogate_gives_the_stores_own_accuracies() {
    let dir = TestDir::new();
    let evaluation = dir.eval(&["--model", "model.safetensors"]);
    let info = store::info(&dir.path("a.db")).unwrap();
    assert_eq!(evaluation["surrogate"]["sha256"], info.model.sha256);
    let splits = evaluation["splits"].as_array().unwrap();
    let mut seen = Vec::new();
    for (result, split) in splits.iter().zip(["val", "test"]) {
        assert_eq!(result["split"], split);
        let baseline = &result["baseline"];
        assert_eq!(result["clean"], baseline["clean"]);
        assert_eq!(result["attacks"], baseline["attacks"]);
        assert_eq!(result["worst_case"], baseline["worst_case"]);
        assert_eq!(result["by_distance"], baseline["by_distance"]);
        assert_eq!(result["mixed"]["accuracy"], baseline["mixed"]);
        // And they are what the store's own view counts.
        let stored = info.splits.iter().find(|s| s.split == split).unwrap();
        assert_eq!(result["clean"].as_f64(), stored.clean_accuracy);
        assert_eq!(result["images"], stored.images);
        for attack in ATTACKS {
            let mut rows = info.summary.iter().filter(|row| row.split == split);
            let row = rows.find(|row| row.attack == attack.name()).unwrap();
            let accuracy = result["attacks"][attack.name()].as_f64().unwrap();
            assert_eq!(accuracy, row.surrogate_accuracy);
            seen.push(accuracy);
        }
    }
    // Numbers that tell attacks apart: the test could fail.
    assert!(seen.iter().any(|accuracy| *accuracy != seen[0]), "{seen:?}");

    let output = dir.run(&["eval", "--db", "a.db", "--model", "model.safetensors"]);
    assert_success(&output);
    let text = String::from_utf8(output.stdout).unwrap();
    let rows = |name: &str| -> Vec<String> {
        let rows = text.lines().filter(|line| line.starts_with(name));
        rows.map(|row| row[name.len()..].trim().to_string())
            .collect()
    };
    // Of each split by attack and by distance, L2 and Linf.
    assert_eq!(rows("surrogate").len(), 2 * 3);
    assert_eq!(rows("surrogate"), rows("pretrain"));
}

#[test]
fn evaluation_json_has_its_fields_and_equals_the_runs_report_json() {
    let dir = TestDir::new();
    assert_success(&dir.joint("run", &[]).output().unwrap());
    let evaluation = dir.eval(&["--model", "run/best.safetensors"]);
    let kept = fs::read(dir.path("run/report.json")).unwrap();
    assert_eq!(evaluation, serde_json::from_slice::<Value>(&kept).unwrap());

    // After so little training the accuracy is a warning.
    assert_eq!(
        keys(&evaluation),
        ["model", "surrogate", "splits", "warnings"]
    );
    let warning = evaluation["warnings"][0].as_str().unwrap();
    assert!(warning.contains("best.safetensors: only "), "{warning}");
    let model = &evaluation["model"];
    assert_eq!(keys(model), ["name", "method", "width", "epoch"]);
    assert_eq!(
        (&model["method"], &model["width"]),
        (&json!("joint"), &json!(2))
    );
    for (result, images) in evaluation["splits"]
        .as_array()
        .unwrap()
        .iter()
        .zip([10, 20])
    {
        let fields = [
            "split",
            "images",
            "clean",
            "attacks",
            "worst_case",
            "mixed",
            "detector",
            "baseline",
            "detection",
            "by_distance",
            "classes",
        ];
        assert_eq!(keys(result), fields);
        assert_eq!(result["images"], images);
        assert_eq!(
            keys(&result["attacks"]),
            ATTACKS.map(|attack| attack.name())
        );
        assert_eq!(result["mixed"]["share"], 0.5);
        for part in ["accuracy", "auc"] {
            let part = result["detector"][part].as_f64().unwrap();
            assert!((0.0..=1.0).contains(&part));
        }
    }

    // A mixed set without attacks is the clean one.
    let clean = dir.eval(&["--model", "run/best.safetensors", "--adv-ratio", "0"]);
    for split in clean["splits"].as_array().unwrap() {
        assert_eq!(split["clean"], split["mixed"]["accuracy"]);
    }
    let only = dir.eval(&["--model", "model.safetensors", "--split", "test"]);
    assert_eq!(only["splits"].as_array().unwrap().len(), 1);
    assert_eq!(only["splits"][0]["detector"], Value::Null);
}

#[test]
fn an_html_report_names_its_runs_and_replaces_only_a_report() {
    let dir = TestDir::new();
    let once = ["--epochs", "1"];
    assert_success(&dir.pretrain("plain-7", &once).output().unwrap());
    assert_success(&dir.joint("robust-8", &once).output().unwrap());
    let report = ["report", "plain-7", "robust-8", "--out", "a.html"];
    fs::write(dir.path("a.html"), "<!doctype html>mine").unwrap();
    let message = ["a.html: exists", "--force"];
    dir.assert_refused(&mut dir.command(&report), 2, &message);
    assert_success(&dir.run(&[&report[..], &["--force"]].concat()));
    let page = fs::read_to_string(dir.path("a.html")).unwrap();
    for word in [
        "<!DOCTYPE html>",
        "plain-7",
        "robust-8",
        "data:image/png;base64,",
    ] {
        assert!(
            page.to_lowercase().contains(&word.to_lowercase()),
            "no {word}"
        );
    }
    assert!(!page.contains("src=\"http"));
    assert_success(&dir.run(&report));
    assert_eq!(fs::read_to_string(dir.path("a.html")).unwrap(), page);

    fs::write(dir.path("plain-7/metrics.jsonl"), "{}\n").unwrap();
    let message = [
        "plain-7/metrics.jsonl:1: found ",
        "expected one epoch's metrics",
    ];
    dir.assert_refused(&mut dir.command(&report), 3, &message);
    for name in [
        "best.safetensors",
        "metrics.jsonl",
        "report.json",
        "detector.safetensors",
    ] {
        let out = format!("robust-8/{name}");
        let onto = &mut dir.command(&["report", "robust-8", "--out", &out, "--force"]);
        dir.assert_refused(onto, 2, &[&out, "name another output"]);
    }
    fs::write(dir.path("plain-7/config.toml"), b"\xff").unwrap();
    let message = ["plain-7/config.toml: found ", "expected text in UTF-8"];
    dir.assert_refused(&mut dir.command(&report), 3, &message);
}

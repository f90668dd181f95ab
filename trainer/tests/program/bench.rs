//! `trainer bench`: workloads and output, not their speed.

use std::{fs, process::Command};

use attacks::AttackKind;
use serde_json::Value;

use library_tests::{assert_refused, assert_success};

const STEPS: [&str; 5] = [
    "forward",
    "input_gradient",
    "train_step",
    "joint_step",
    "pgd_at_step",
];

/// Small models and few runs.
fn bench(more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trainer"));
    command
        .args(["bench", "--batch-size", "4", "--device", "cpu"])
        .args(["--seconds", "0", "--runs", "1"])
        .args(more);
    if !more.contains(&"--width") {
        command.args(["--width", "4"]);
    }
    command
}

/// The rows of `--json`, a line each.
fn rows(stdout: &[u8]) -> Vec<Value> {
    let text = str::from_utf8(stdout).unwrap();
    let row = |line: &str| serde_json::from_str(line).unwrap();
    text.lines().map(row).collect()
}

#[test]
fn bench_json_has_a_line_for_every_workload() {
    let output = bench(&["--json"]).output().unwrap();
    assert_success(&output);
    let results = rows(&output.stdout);
    let names: Vec<&str> = results
        .iter()
        .map(|row| row["name"].as_str().unwrap())
        .collect();
    let attacks = AttackKind::ALL.map(|kind| format!("attack_{kind}"));
    let (steps, robust) = (STEPS.map(String::from), ["robust_pgd".to_string()]);
    assert_eq!(names, [&steps[..], &attacks, &robust].concat());
    for row in &results {
        assert_eq!((&row["width"], &row["batch"]), (&4.into(), &4.into()));
        assert_eq!(
            (&row["device"], &row["precision"]),
            (&"cpu".into(), &"f32".into())
        );
        assert!(row["images_per_s"].as_f64().unwrap() > 0.0);
        assert!(row["spread"].as_f64().unwrap() >= 0.0);
    }
}

#[test]
fn bench_only_runs_the_named_workloads() {
    let output = bench(&["--only", "forward,attack_fgsm"]).output().unwrap();
    assert_success(&output);
    let table = String::from_utf8(output.stdout).unwrap();
    let firsts: Vec<&str> = table
        .lines()
        .skip(1)
        .map(|l| l.split_once(' ').unwrap().0)
        .collect();
    assert_eq!(firsts, ["forward", "attack_fgsm"]);
}

#[test]
fn a_bench_workload_that_fails_is_a_row_with_its_error_and_the_others_still_run() {
    // A detector needs an even width.
    let odd = ["--width", "3", "--only", "forward,joint_step,attack_fgsm"];
    let output = bench(&[&odd[..], &["--json"]].concat()).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let rows = rows(&output.stdout);
    let names: Vec<&Value> = rows.iter().map(|row| &row["name"]).collect();
    assert_eq!(names, ["forward", "joint_step", "attack_fgsm"]);
    assert!(rows[0]["images_per_s"].as_f64().unwrap() > 0.0);
    assert!(rows[2]["images_per_s"].as_f64().unwrap() > 0.0);
    assert!(rows[1]["error"].as_str().unwrap().contains("width 3"));
    assert_eq!(rows[1].get("images_per_s"), None);
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        message.contains("error: ") && message.contains("width 3"),
        "{message}"
    );

    let output = bench(&odd).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("joint_step        failed: "), "{table}");
    assert_eq!(table.lines().count(), 4, "{table}");
}

#[test]
fn bench_inputs_are_written_but_not_over_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("inputs.safetensors");
    let write = [
        "--only",
        "forward",
        "--write-inputs",
        file.to_str().unwrap(),
    ];
    assert_success(&bench(&write).output().unwrap());
    let written = fs::read(&file).unwrap();
    assert_refused(
        folder.path(),
        &mut bench(&write),
        2,
        &["inputs.safetensors: exists", "--force"],
    );
    assert_success(
        &bench(&[write.as_slice(), &["--force"]].concat())
            .output()
            .unwrap(),
    );
    assert_eq!(fs::read(&file).unwrap(), written);
    let output = bench(&["--only", "nonsense"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

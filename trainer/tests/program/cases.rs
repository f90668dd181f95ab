//! Cases reported of comparable tools (docs/cases.md): options of another method, command lines, weights of 0,
//! normalization, models of unfinished runs.

use std::fs;

use candle_core::Device;
use nn::model::Weights;

use crate::{
    common::TestDir,
    mismatches::{stderr, stdout},
    runs::metrics,
    test_store,
};
use library_tests::{assert_success, edit};

#[test]
fn options_of_another_method_schedule_or_policy_are_refused() {
    let dir = TestDir::new();
    for (args, words) in [
        (
            &["--method", "adversarial", "--detector-lr", "0.1"][..],
            ["--detector-lr", "--method joint"],
        ),
        (
            &["--method", "adversarial", "--alpha", "2"],
            ["--alpha", "--method joint"],
        ),
        (&["--lr-step", "3"], ["--lr-step", "--schedule step"]),
        (
            &["--lr-gamma", "0.5", "--schedule", "cosine"],
            ["--lr-gamma", "--schedule step"],
        ),
        (&["--eta", "2"], ["--eta", "--policy adaptive"]),
    ] {
        let train = &mut dir.command(&[&["train", "--db", "a.db", "--out", "run"], args].concat());
        dir.assert_refused(train, 2, &words);
    }
}

#[test]
fn a_wrong_command_line_is_refused_in_one_line() {
    let dir = TestDir::new();
    let missing = &mut dir.command(&["train", "--out", "run"]);
    dir.assert_refused(missing, 2, &["--db <DB>", "--help"]);
    let unknown = &mut dir.command(&["train", "--batchsize", "3"]);
    dir.assert_refused(unknown, 2, &["--batchsize", "--batch-size"]);
    let help = dir.run(&["train", "--help"]);
    assert!(stdout(&help).contains("--detector-layers"));
}

#[test]
fn a_weight_of_zero_in_the_joint_loss_trains() {
    let dir = TestDir::new();
    for (out, weights) in [("a", ["--alpha", "0"]), ("b", ["--beta", "0"])] {
        let once = [&weights[..], &["--epochs", "1"]].concat();
        assert_success(&dir.joint(out, &once).output().unwrap());
    }
    let line = &metrics(&dir.path("a"))[0]["train"];
    assert_eq!(line["loss"], line["smooth_l1"]);
}

#[test]
fn normalization_is_kept_in_what_training_saves() {
    let dir = TestDir::new();
    let given = [
        "--mean",
        "0.4914,0.4822,0.4465",
        "--std",
        "0.2023,0.1994,0.201",
    ];
    let once = [&given[..], &["--epochs", "1"]].concat();
    assert_success(&dir.pretrain("base", &once).output().unwrap());
    let db = dir.path("a.db");
    fs::remove_file(&db).unwrap();
    test_store::write(
        &dir.path("data"),
        &dir.path("base/best.safetensors"),
        &db,
        true,
    );
    assert_success(&dir.joint("run", &["--epochs", "1"]).output().unwrap());
    for file in [
        "base/best.safetensors",
        "run/best.safetensors",
        "run/detector.safetensors",
    ] {
        let (_, header) = Weights::read(&dir.path(file), &Device::Cpu).unwrap();
        assert_eq!(
            (&header["mean"], &header["std"]),
            (&given[1].to_string(), &given[3].to_string()),
            "{file}"
        );
    }
    // The baseline beside the store's own predictions: the same model, so the same numbers.
    let evaluation = dir.eval(&["--model", "base/best.safetensors"]);
    let split = &evaluation["splits"][1];
    assert_eq!(split["clean"], split["baseline"]["clean"]);
    assert_eq!(split["attacks"], split["baseline"]["attacks"]);
    let config = fs::read_to_string(dir.path("run/config.toml")).unwrap();
    assert!(
        config.contains("mean = \"0.4914,0.4822,0.4465\""),
        "{config}"
    );
    let resumed = dir.pretrain("base", &["--epochs", "1"]).output().unwrap();
    let text = stderr(&resumed);
    assert_eq!(resumed.status.code(), Some(2));
    assert!(
        text.contains("mean = \"0.4914,0.4822,0.4465\", now it is not set"),
        "{text}"
    );
}

#[test]
fn evaluating_a_model_of_an_unfinished_run_is_a_warning() {
    let dir = TestDir::new();
    assert_success(&dir.joint("run", &["--epochs", "1"]).output().unwrap());
    edit(&dir.path("run/config.toml"), |text| {
        let more = String::from_utf8(text.clone()).unwrap();
        *text = more.replace("epochs = 1\n", "epochs = 2\n").into_bytes();
    });
    let output = dir.run(&["eval", "--db", "a.db", "--model", "run/best.safetensors"]);
    assert_success(&output);
    assert!(
        stderr(&output).contains("from an unfinished run"),
        "{}",
        stderr(&output)
    );
}

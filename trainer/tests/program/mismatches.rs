//! Mismatched inputs (docs/cases.md): detectors of another surrogate, splits without images, models trained on val,
//! unchanged samples, single shards.

use std::{fs, process::Output};

use candle_core::Device;
use data::Split;
use nn::model::{Metadata, Weights};
use serde_json::Value;
use store::Store;

use crate::{common::TestDir, runs::metrics, test_store};
use library_tests::assert_success;

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

pub fn stdout(output: &Output) -> String {
    assert_success(output);
    String::from_utf8(output.stdout.clone()).unwrap()
}

const EVAL: [&str; 5] = [
    "eval",
    "--db",
    "other.db",
    "--model",
    "run/best.safetensors",
];

#[test]
fn a_detector_of_another_surrogate_is_left_out_of_the_tables() {
    let dir = TestDir::new();
    assert_success(&dir.joint("run", &["--epochs", "1"]).output().unwrap());
    let own = stdout(&dir.run(&["eval", "--db", "a.db", "--model", "run/best.safetensors"]));
    assert!(own.contains("ROC AUC"), "{own}");
    // A store of equal width whose surrogate is another model, and one of another width.
    for width in ["2", "4"] {
        let other = ["--width", width, "--epochs", "1", "--seed", "5", "--force"];
        let mut pretrain = dir.command(&["pretrain", "--data", "data", "--device", "cpu"]);
        assert_success(
            &pretrain
                .args(["--out", "other"])
                .args(other)
                .output()
                .unwrap(),
        );
        let db = dir.path("other.db");
        let _ = fs::remove_file(&db);
        // Without its header, which would say that it was trained with another seed.
        let path = dir.path("other/best.safetensors");
        let (weights, _) = Weights::read(&path, &Device::Cpu).unwrap();
        weights.write(&path, &Metadata::new()).unwrap();
        test_store::write(&dir.path("data"), &path, &db, true);
        let output = dir.run(&EVAL);
        let text = stdout(&output);
        assert!(
            !text.contains("ROC AUC") && text.contains("joint"),
            "{text}"
        );
        let warned = stderr(&output);
        assert!(
            warned.contains("detector.safetensors: it was trained with the model "),
            "{warned}"
        );
        assert!(warned.contains("left out of the tables"), "{warned}");
    }
    // One whose header says nothing is known by its width.
    let path = dir.path("run/detector.safetensors");
    let (weights, _) = Weights::read(&path, &Device::Cpu).unwrap();
    weights.write(&path, &Metadata::new()).unwrap();
    let output = dir.run(&EVAL);
    assert!(!stdout(&output).contains("ROC AUC"));
    assert!(stderr(&output).contains("it fits a model of width 2, the store's has width 4"));
}

#[test]
fn without_val_images_accuracies_are_dashes_and_the_best_model_is_by_training_loss() {
    let dir = TestDir::new();
    let small = [
        "--limit",
        "20",
        "--epochs",
        "4",
        "--lr",
        "0.05",
        "--augment",
        "none",
    ];
    let output = dir.pretrain("small", &small).output().unwrap();
    assert_success(&output);
    let text = stderr(&output);
    assert!(
        text.contains("warning: val has no images") && text.contains("val clean –"),
        "{text}"
    );
    assert!(!text.contains("val clean 0"), "{text}");
    let lines = metrics(&dir.path("small"));
    let mut lowest = f64::INFINITY;
    for line in &lines {
        assert_eq!(line["val"]["clean"], Value::Null);
        let loss = line["train"]["loss"].as_f64().unwrap();
        assert_eq!(line["best"], loss < lowest);
        lowest = lowest.min(loss);
    }
    assert!(
        lines.iter().filter(|line| line["best"] == true).count() > 1,
        "it moves on"
    );
    let (_, header) = Weights::read(&dir.path("small/best.safetensors"), &Device::Cpu).unwrap();
    assert!(!header.contains_key("accuracy"), "{header:?}");

    let data = data::load(&dir.path("data"), 0, Some(20)).unwrap();
    assert!(data.val.is_empty() && data.test.is_empty());
    let db = dir.path("a.db");
    fs::remove_file(&db).unwrap();
    test_store::write_limited(
        &dir.path("data"),
        &dir.path("model.safetensors"),
        &db,
        true,
        Some(20),
    );
    assert_success(&dir.joint("run", &["--epochs", "1"]).output().unwrap());
    let table = stdout(&dir.run(&["eval", "--db", "a.db", "--model", "run/best.safetensors"]));
    assert!(table.contains('–') && !table.contains("0.00"), "{table}");
    let report: Value =
        serde_json::from_slice(&fs::read(dir.path("run/report.json")).unwrap()).unwrap();
    assert_eq!(report["splits"][0]["clean"], Value::Null);
    assert_eq!(report["splits"][0]["mixed"]["accuracy"], Value::Null);
    assert!(report["warnings"].to_string().contains("val has no images"));
    assert_success(&dir.run(&["report", "run", "small", "--out", "a.html"]));
}

#[test]
fn a_model_trained_on_val_images_of_a_store_is_not_evaluated_on_val() {
    let dir = TestDir::new();
    assert_success(
        &dir.pretrain("seed-1", &["--seed", "1", "--epochs", "1"])
            .output()
            .unwrap(),
    );
    let measure = ["eval", "--db", "a.db", "--model", "seed-1/best.safetensors"];
    let words = [
        "seed-1/best.safetensors: found trained with --seed 1",
        "--seed 0",
        "--split test",
    ];
    dir.assert_refused(&mut dir.command(&measure), 3, &words);
    dir.assert_refused(
        &mut dir.command(&[&measure[..], &["--split", "val"]].concat()),
        3,
        &words,
    );
    stdout(&dir.run(&[&measure[..], &["--split", "test"]].concat()));

    // As a surrogate: a warning, and its accuracies on val are in no table.
    let db = dir.path("a.db");
    fs::remove_file(&db).unwrap();
    test_store::write(
        &dir.path("data"),
        &dir.path("seed-1/best.safetensors"),
        &db,
        true,
    );
    let output = dir.joint("run", &["--epochs", "1"]).output().unwrap();
    assert_success(&output);
    let text = stderr(&output);
    assert!(
        text.contains("its surrogate was trained with --seed 1") && text.contains("--seed 0"),
        "{text}"
    );
    let report: Value =
        serde_json::from_slice(&fs::read(dir.path("run/report.json")).unwrap()).unwrap();
    assert_eq!(report["splits"][0]["baseline"], Value::Null);
    assert!(report["splits"][1]["baseline"].is_object());
    assert!(report["warnings"].to_string().contains("--seed 1"));
    assert_success(&dir.run(&["report", "run", "--out", "a.html"]));

    // Its detector has no thresholds from these images.
    let attack = "robust --db a.db --model run/best.safetensors --attacks pgd --steps 1 --eps 1/255 --limit 4 \
                  --device cpu --out attacked";
    let attack: Vec<&str> = attack.split_whitespace().collect();
    let words = [
        "a.db: found val images that the detector",
        "--without-detector",
    ];
    dir.assert_refused(&mut dir.command(&attack), 3, &words);
    assert_success(&dir.run(&[&attack[..], &["--without-detector"]].concat()));
}

#[test]
fn unchanged_samples_are_clean_to_the_detector_and_counted() {
    let dir = TestDir::new();
    let db = dir.path("a.db");
    fs::remove_file(&db).unwrap();
    // BIM of no step leaves every image as it is.
    test_store::write_unchanged(&dir.path("data"), &dir.path("model.safetensors"), &db);
    let table = Store::open(&db).unwrap().load(Split::Val).unwrap();
    let bim = 1 + table.attacks.iter().position(|name| name == "bim").unwrap();
    assert!((0..table.len()).all(|row| !table.is_changed(row, bim) && table.is_changed(row, 1)));
    let all_bim = [
        "--epochs",
        "1",
        "--adv-ratio",
        "1",
        "--bounds",
        "gaussian=0,fgsm=0,bim=1",
    ];
    assert_success(&dir.joint("run", &all_bim).output().unwrap());
    // Everything is drawn from BIM, so to the detector everything is clean: it has learned to say so.
    let line = &metrics(&dir.path("run"))[0];
    assert_eq!(line["mixture"]["drawn"]["clean"], 0);
    let evaluation = dir.eval(&["--model", "run/best.safetensors", "--adv-ratio", "1"]);
    for split in evaluation["splits"].as_array().unwrap() {
        assert_eq!(split["unchanged"]["bim"], split["images"]);
        assert_eq!(split["unchanged"]["gaussian"], 0);
    }
    let text = stdout(&dir.run(&["eval", "--db", "a.db", "--model", "run/best.safetensors"]));
    assert!(text.contains("unchanged samples"), "{text}");
    let loss = line["train"]["detector_loss"].as_f64().unwrap();
    assert!(loss < 0.5, "every target is clean: {loss}");
}

#[test]
fn training_or_evaluating_on_a_single_shard_is_a_warning() {
    let dir = TestDir::new();
    let db = dir.path("a.db");
    fs::remove_file(&db).unwrap();
    test_store::write_shard(
        &dir.path("data"),
        &dir.path("model.safetensors"),
        &db,
        "2/3",
    );
    let train = dir.joint("run", &["--epochs", "1"]).output().unwrap();
    assert_success(&train);
    let eval = dir.run(&["eval", "--db", "a.db", "--model", "run/best.safetensors"]);
    for output in [train, eval] {
        assert_success(&output);
        assert!(
            stderr(&output).contains("a.db: only shard 2/3 of a store"),
            "{}",
            stderr(&output)
        );
    }
    let report = fs::read_to_string(dir.path("run/report.json")).unwrap();
    assert!(report.contains("only shard 2/3"));
}

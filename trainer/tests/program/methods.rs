//! Training methods that attack the model they train, several stores, initial weights, recipes and selection of the
//! best model.

use std::fs;

use candle_core::Device;
use data::Split;
use nn::model::Weights;
use serde_json::Value;
use store::Store;

use crate::{
    common::{TestDir, small},
    resuming::{TrainCommand, stopped_and_resumed},
    runs::metrics,
    test_store,
};
use library_tests::assert_success;

const ATTACKING: [&str; 4] = ["pgd-at", "trades", "fast-at", "atta"];

pub fn train(dir: &TestDir, method: &str, out: &str, more: &[&str]) -> std::process::Command {
    let mut command = dir.command(&["train", "--db", "a.db", "--method", method]);
    small(&mut command, out, more);
    command
}

/// A second store of the same images, against another model.
fn second_store(dir: &TestDir) {
    let other = [
        "--epochs",
        "2",
        "--seed",
        "0",
        "--lr",
        "0.1",
        "--augment",
        "none",
    ];
    assert_success(&dir.pretrain("other", &other).output().unwrap());
    let weights = dir.path("other/best.safetensors");
    test_store::write(&dir.path("data"), &weights, &dir.path("b.db"), true);
}

#[test]
fn methods_that_attack_measure_accuracy_under_attack_and_save_it_with_the_model() {
    let dir = TestDir::new();
    for method in ATTACKING {
        let more = ["--epochs", "2", "--robust-val", "7", "--eps", "4/255"];
        assert_success(&train(&dir, method, method, &more).output().unwrap());
        let lines = metrics(&dir.path(method));
        for line in &lines {
            let robust = line["val"]["robust"].as_f64().unwrap();
            assert!((0.0..=line["val"]["clean"].as_f64().unwrap().max(1.0)).contains(&robust));
            assert_eq!(line["mixture"], serde_json::Value::Null);
        }
        let path = dir.path(method).join("best.safetensors");
        let (_, metadata) = Weights::read(&path, &Device::Cpu).unwrap();
        let best = lines
            .iter()
            .rev()
            .find(|line| line["best"] == true)
            .unwrap();
        let saved: f64 = metadata["robust_accuracy"].parse().unwrap();
        assert_eq!(saved, best["val"]["robust"].as_f64().unwrap());
        let config = fs::read_to_string(dir.path(method).join("config.toml")).unwrap();
        assert!(config.contains("eps = \"4/255\"") && config.contains("select = \"robust\""));
    }
}

/// With everything that a checkpoint may keep: momentum, averaged weights, perturbations.
const ATTA: TrainCommand = |dir, out| {
    let mut command = dir.command(&["train", "--db", "a.db", "--method", "atta"]);
    small(
        &mut command,
        out,
        &["--batch-size", "4", "--ema", "0.9", "--reset", "2"],
    );
    command
};

#[test]
fn a_stopped_atta_run_resumes_to_the_perturbations_and_averaged_weights_of_an_uninterrupted_one() {
    stopped_and_resumed(ATTA);
}

#[test]
fn the_perturbations_of_atta_are_saved_as_a_store_that_can_be_trained_on() {
    let dir = TestDir::new();
    let more = ["--epochs", "2", "--eps", "4/255"];
    assert_success(&train(&dir, "atta", "run", &more).output().unwrap());
    let store = Store::open(&dir.path("run/atta.db")).unwrap();
    let table = store.load(Split::Train).unwrap();
    let first = Store::open(&dir.path("a.db"))
        .unwrap()
        .load(Split::Train)
        .unwrap();
    assert_eq!((&table.ids, &table.labels), (&first.ids, &first.labels));
    // A sample goes a level further where rounding would lose its success.
    let largest = table.linf.iter().copied().fold(0.0, f32::max);
    assert!((3.0 / 255.0..=5.01 / 255.0).contains(&largest), "{largest}");
    assert_eq!(
        (&store.attacks()[0].name[..], store.attacks()[0].id),
        ("atta", 8)
    );

    // Made anew where it is missing, and the same.
    let hash = store.meta().content_hash.clone();
    fs::remove_file(dir.path("run/atta.db")).unwrap();
    assert_success(&train(&dir, "atta", "run", &more).output().unwrap());
    let again = Store::open(&dir.path("run/atta.db")).unwrap();
    assert_eq!(again.meta().content_hash, hash);

    let mut both = dir.command(&["train", "--db", "a.db", "--db", "run/atta.db"]);
    both.args(["--method", "adversarial", "--bounds", "2/atta=0.5..1"]);
    small(&mut both, "both", &["--epochs", "1"]);
    assert_success(&both.output().unwrap());
}

#[test]
fn the_best_model_is_that_of_the_selected_accuracy() {
    let dir = TestDir::new();
    for (select, key) in [("clean", "clean"), ("robust", "robust"), ("mixed", "mixed")] {
        let more = [
            "--select",
            select,
            "--robust-val",
            "20",
            "--eps",
            "2/255",
            "--lr",
            "0.1",
        ];
        assert_success(&train(&dir, "adversarial", select, &more).output().unwrap());
        let lines = metrics(&dir.path(select));
        let on_val = |line: &Value, key: &str| line["val"][key].as_f64().unwrap();
        if select == "robust" {
            // Where no epoch is more robust than a constant prediction, clean accuracy decides.
            let best = lines.iter().rfind(|line| line["best"] == true).unwrap();
            let better = |line: &&Value, key| on_val(line, key) > on_val(best, key);
            assert!(
                !lines
                    .iter()
                    .any(|line| better(&line, "robust") && better(&line, "clean"))
            );
            continue;
        }
        let mut best = f64::NEG_INFINITY;
        for line in lines {
            let score = on_val(&line, key);
            assert_eq!(line["best"], score > best, "{select}: {line}");
            best = best.max(score);
        }
    }
    let robust = &mut train(&dir, "joint", "run", &["--select", "robust"]);
    dir.assert_refused(robust, 2, &["--select robust", "--robust-val"]);
}

#[test]
fn options_of_other_methods_are_refused_by_methods_that_attack_and_the_other_way_round() {
    let dir = TestDir::new();
    for (method, option, value) in [
        ("adversarial", "--steps", "3"),
        ("adversarial", "--step-size", "2/255"),
        ("adversarial", "--awp", "0.01"),
        ("joint", "--reset", "3"),
        ("joint", "--eps", "8/255"),
        ("pgd-at", "--reset", "3"),
        ("pgd-at", "--beta", "3"),
        ("pgd-at", "--adv-ratio", "0.5"),
        ("trades", "--bounds", "fgsm=0.5..1"),
        ("fast-at", "--alpha", "1"),
    ] {
        let command = &mut train(&dir, method, "run", &[option, value]);
        dir.assert_refused(command, 2, &[option, "no meaning without"]);
    }
    for eps in ["0", "-1/255", "8/0", "eight"] {
        let command = &mut train(&dir, "pgd-at", "run", &["--eps", eps]);
        dir.assert_refused(command, 2, &["--eps"]);
    }
    let resized = &mut train(&dir, "atta", "run", &["--augment", "resized"]);
    dir.assert_refused(resized, 2, &["--method atta", "--augment pad or none"]);
}

#[test]
fn several_stores_of_the_same_images_are_drawn_from_within_their_own_bounds() {
    let dir = TestDir::new();
    second_store(&dir);
    let both = |out: &str, more: &[&str]| {
        let mut command = dir.command(&["train", "--db", "a.db", "--db", "b.db"]);
        command.args(["--method", "adversarial", "--adv-ratio", "1"]);
        small(&mut command, out, more);
        command
    };
    let bounds = ["--bounds", "2/bim=0.5..1,1/fgsm=0..0"];
    assert_success(&both("run", &bounds).output().unwrap());
    for line in metrics(&dir.path("run")) {
        let (probabilities, drawn) = (&line["mixture"]["probabilities"], &line["mixture"]["drawn"]);
        assert!(probabilities["2/bim"].as_f64().unwrap() >= 0.5, "{line}");
        assert_eq!((&drawn["1/fgsm"], &drawn["clean"]), (&0.into(), &0.into()));
        assert_eq!(probabilities.as_object().unwrap().len(), 6);
        // Measured on the first store.
        assert_eq!(line["val"]["attacks"].as_object().unwrap().len(), 3);
    }
    let unknown = &mut both("other", &["--bounds", "bim=0.5..1"]);
    dir.assert_refused(unknown, 2, &["bim", "1/bim"]);
    let unused = &mut train(&dir, "pgd-at", "other", &["--db", "b.db"]);
    dir.assert_refused(unused, 2, &["--db: found 2", "pgd-at"]);
    let twice = &mut dir.command(&["train", "--db", "a.db", "--db", "a.db", "--out", "twice"]);
    dir.assert_refused(twice, 2, &["a.db: found the content of a.db"]);
    let fewer = dir.path("fewer.db");
    test_store::write_limited(
        &dir.path("data"),
        &dir.path("model.safetensors"),
        &fewer,
        true,
        Some(50),
    );
    let mut fewer = dir.command(&[
        "train", "--db", "a.db", "--db", "fewer.db", "--out", "fewer",
    ]);
    dir.assert_refused(&mut fewer, 3, &["training images of store 2", "other ids"]);
    // Resuming with the stores in another order is another run.
    let mut turned = dir.command(&["train", "--db", "b.db", "--db", "a.db"]);
    turned.args(["--method", "adversarial", "--adv-ratio", "1"]);
    small(&mut turned, "run", &bounds);
    dir.assert_refused(&mut turned, 2, &["data_hash"]);
}

#[test]
fn training_starts_from_the_weights_of_init_which_must_fit() {
    let dir = TestDir::new();
    let still = ["--init", "model.safetensors", "--lr", "0", "--epochs", "1"];
    assert_success(&train(&dir, "pgd-at", "run", &still).output().unwrap());
    let read = |path: &str| Weights::read(&dir.path(path), &Device::Cpu).unwrap().0;
    let (before, after) = (read("model.safetensors"), read("run/best.safetensors"));
    let bias = |weights: &Weights| {
        weights
            .get("linear.bias")
            .unwrap()
            .to_vec1::<f32>()
            .unwrap()
    };
    assert_eq!(bias(&before), bias(&after));

    let wide = ["--width", "3", "--epochs", "1"];
    let mut command = dir.command(&["pretrain", "--data", "data"]);
    small(&mut command, "wide", &wide);
    assert_success(&command.output().unwrap());
    let other = &mut train(
        &dir,
        "pgd-at",
        "other",
        &["--init", "wide/best.safetensors"],
    );
    dir.assert_refused(
        other,
        3,
        &["wide/best.safetensors: model", "width 3", "width 2"],
    );
    let seed = ["--seed", "5", "--init", "model.safetensors"];
    dir.assert_refused(
        &mut dir.pretrain("seeded", &seed),
        3,
        &["--init", "--seed 0"],
    );
    // Other weights are another run.
    let fresh = &mut train(&dir, "pgd-at", "run", &["--lr", "0", "--epochs", "1"]);
    dir.assert_refused(fresh, 2, &["init"]);
}

#[test]
fn a_recipe_sets_what_the_command_line_leaves_out_and_a_runs_config_repeats_the_run() {
    let dir = TestDir::new();
    let recipe = "batch_size = 6\nepochs = 2\n[optimizer]\nlr = 0.02\nema = 0.9\nnesterov = true\n\
                  label_smoothing = 0.1\nclip_norm = 2.0\n[joint]\ndetector_optimizer = 'adamw'\nupdates = 'two-stage'\n";
    fs::write(dir.path("recipe.toml"), recipe).unwrap();
    let run = |out: &str, config: &str, more: &[&str]| {
        let mut command = dir.command(&["train", "--db", "a.db", "--out", out, "--device", "cpu"]);
        command.args(["--config", config]).args(more);
        command
    };
    assert_success(&run("a", "recipe.toml", &["--lr", "0.03"]).output().unwrap());
    let text = |run: &str| fs::read_to_string(dir.path(run).join("config.toml")).unwrap();
    for setting in [
        "batch_size = 6",
        "lr = 0.03",
        "ema = 0.9",
        "updates = \"two-stage\"",
    ] {
        assert!(text("a").contains(setting), "{}", text("a"));
    }
    assert_success(&run("b", "a/config.toml", &[]).output().unwrap());
    assert_eq!(
        (text("a"), metrics(&dir.path("a"))),
        (text("b"), metrics(&dir.path("b")))
    );
    fs::write(dir.path("wrong.toml"), "[optimizer]\nrate = 1").unwrap();
    dir.assert_refused(&mut run("c", "wrong.toml", &[]), 3, &["wrong.toml", "rate"]);
    dir.assert_refused(&mut run("c", "none.toml", &[]), 3, &["none.toml"]);
}

//! Refusals: the exit code tells the cause, one line names file, finding and expectation, and no file is changed.

use std::{collections::BTreeMap, fs};

use candle_core::{Device, Tensor};
use data::Split;
use nn::model::{Metadata, Weights};
use store::Store;

use crate::{common::TestDir, test_store};
use library_tests::{assert_success, edit};

const EVAL: [&str; 5] = ["eval", "--db", "a.db", "--model", "model.safetensors"];

#[test]
fn missing_files_are_named() {
    let dir = TestDir::new();
    let missing = |args: &[&str], name: &str| {
        dir.assert_refused(&mut dir.command(args), 3, &[name, ": cannot "]);
    };
    missing(&["pretrain", "--data", "gone", "--out", "run"], "gone");
    missing(&["train", "--db", "gone.db", "--out", "run"], "gone.db");
    missing(
        &["eval", "--db", "gone.db", "--model", "model.safetensors"],
        "gone.db",
    );
    missing(&["eval", "--db", "a.db", "--model", "gone"], "gone");
    missing(&[&EVAL[..], &["--detector", "gone"]].concat(), "gone");
    missing(&["report", "gone", "--out", "a.html"], "gone/config.toml");
}

#[test]
fn images_with_an_invalid_label_are_refused() {
    let dir = TestDir::new();
    edit(&dir.path("data/data_batch_1.bin"), |bytes| bytes[0] = 255);
    let message = ["data_batch_1.bin, record 0: found label 255, expected 0 to 9"];
    dir.assert_refused(&mut dir.pretrain("run", &[]), 3, &message);
}

#[test]
fn weights_with_a_wrong_tensor_are_refused_by_its_name() {
    let dir = TestDir::new();
    let net = dir.path("model.safetensors");
    let (whole, _) = Weights::read(&net, &Device::Cpu).unwrap();
    let assert_refused = |change: &dyn Fn(&mut BTreeMap<String, Tensor>), message: &str| {
        let mut tensors = whole.tensors().clone();
        change(&mut tensors);
        let weights: Weights = tensors.into_iter().collect();
        weights.write(&net, &Metadata::new()).unwrap();
        let message = ["model.safetensors: tensor linear.bias: found ", message];
        dir.assert_refused(&mut dir.command(&EVAL), 3, &message);
        let detector = [&EVAL[..3], &["--model", "whole.safetensors", "--detector"]].concat();
        let detector = &mut dir.command(&[&detector[..], &["model.safetensors"]].concat());
        dir.assert_refused(detector, 3, &["model.safetensors"]);
    };
    whole
        .write(&dir.path("whole.safetensors"), &Metadata::new())
        .unwrap();
    let name = "linear.bias";
    assert_refused(
        &|tensors| drop(tensors.remove(name)),
        "none, expected one of shape [10]",
    );
    assert_refused(
        &|tensors| {
            let cut = tensors[name].narrow(0, 0, 9).unwrap();
            tensors.insert(name.into(), cut);
        },
        "shape [9], expected [10]",
    );
    assert_refused(
        &|tensors| {
            let infinite = (&tensors[name] * f64::INFINITY).unwrap();
            tensors.insert(name.into(), infinite);
        },
        "expected finite numbers",
    );
}

#[test]
fn damaged_stores_and_foreign_databases_are_refused() {
    let dir = TestDir::new();
    let db = dir.path("a.db");
    let intact = fs::read(&db).unwrap();
    let all_refuse = |words: &[&str]| {
        let words = [words, &["a.db", "found ", "expected "]].concat();
        dir.assert_refused(&mut dir.command(&EVAL), 3, &words);
        dir.assert_refused(&mut dir.joint("run", &[]), 3, &words);
    };
    edit(&db, |bytes| bytes[68..72].copy_from_slice(b"GPKG"));
    all_refuse(&["another program's database"]);
    fs::write(&db, &intact).unwrap();
    edit(&db, |bytes| bytes[63] += 1);
    all_refuse(&["schema version 3"]);
    fs::write(&db, b"not a database at all").unwrap();
    all_refuse(&["no SQLite file"]);
    let pages = intact.len() / 16_384;
    for length in [pages / 2 * 16_384, intact.len() - 1] {
        fs::write(&db, &intact[..length]).unwrap();
        all_refuse(&[]);
    }
    fs::remove_file(&db).unwrap();
    test_store::write(
        &dir.path("data"),
        &dir.path("model.safetensors"),
        &db,
        false,
    );
    all_refuse(&[]);
}

#[test]
fn a_flipped_bit_in_a_store_is_found_before_training() {
    let dir = TestDir::new();
    let db = dir.path("a.db");
    let intact = fs::read(&db).unwrap();
    // Both commands read this split.
    let table = Store::open(&db).unwrap().load(Split::Val).unwrap();
    for variant in [0, 2] {
        let blob = table.variant(4, variant);
        let mut places = intact.windows(blob.len()).enumerate();
        let (place, _) = places.find(|(_, window)| *window == blob).unwrap();
        fs::write(&db, &intact).unwrap();
        edit(&db, |bytes| bytes[place + 1000] ^= 1);
        let message = [
            "a.db",
            &format!("image {}", table.ids[4]),
            "found ",
            "expected ",
        ];
        dir.assert_refused(&mut dir.command(&EVAL), 3, &message);
        let output = dir.joint("run", &[]).output().unwrap();
        library_tests::assert_error(&output, 3, &message);
        assert!(!dir.path("run/last").exists());
    }
}

#[test]
fn invalid_options_are_refused_before_anything_is_written() {
    let dir = TestDir::new();
    let assert_refused = |more: &[&str], words: &[&str]| {
        dir.assert_refused(&mut dir.joint("run", more), 2, words);
    };
    assert_refused(
        &["--bounds", "fgsm=0.6..1,bim=0.5..0.9"],
        &["--bounds: ", "fgsm + bim = 0.6 + 0.5 = 1.1 > 1"],
    );
    assert_refused(
        &["--bounds", "gaussian=0..0.2,fgsm=0..0.2,bim=0..0.2"],
        &["gaussian + fgsm + bim = 0.2 + 0.2 + 0.2 = 0.6 < 1"],
    );
    assert_refused(
        &["--bounds", "cw=0..0.2"],
        &["no attack 'cw' among gaussian, fgsm, bim"],
    );
    assert_refused(&["--warmup", "9"], &["a warm-up of 9 epochs"]);
    assert_refused(&["--detector-layers", "13"], &["13"]);
    for (option, value) in [
        ("--policy", "greedy"),
        ("--lr", "nan"),
        ("--lr", "-1"),
        ("--adv-ratio", "1.5"),
    ] {
        let output = dir.joint("run", &[option, value]).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(message.starts_with("error: invalid value "), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
        assert!(
            message.contains(value) && message.contains(option),
            "{message}"
        );
        assert!(!dir.path("run").exists());
    }
}

#[test]
fn missing_cuda_is_an_error_without_fallback_to_the_cpu() {
    if nn::device::HAS_CUDA {
        return;
    }
    let dir = TestDir::new();
    let message = ["--device cuda:", "built without CUDA"];
    let cuda = ["--device", "cuda"];
    dir.assert_refused(&mut dir.pretrain("run", &cuda), 4, &message);
    dir.assert_refused(&mut dir.joint("run", &cuda), 4, &message);
    let eval = [&EVAL[..], &["--device", "cuda:1"]].concat();
    dir.assert_refused(&mut dir.command(&eval), 4, &message);
}

#[test]
fn a_run_folder_of_other_settings_is_kept_unless_forced() {
    let dir = TestDir::new();
    let once = ["--epochs", "1"];
    assert_success(&dir.pretrain("run", &once).output().unwrap());
    let assert_refused = |more: &[&str], words: &[&str]| {
        let more = [&once, more].concat();
        dir.assert_refused(&mut dir.pretrain("run", &more), 2, words);
    };
    assert_refused(
        &["--lr", "0.5"],
        &["run: ", "optimizer.lr = 0.01, now it is 0.5", "--force"],
    );
    assert_refused(&["--seed", "7"], &["run: ", "seed = 0, now it is 7"]);
    let two = &mut dir.pretrain("run", &["--epochs", "2"]);
    dir.assert_refused(two, 2, &["epochs = 1, now it is 2"]);
    let joint = &mut dir.joint("run", &once);
    dir.assert_refused(joint, 2, &["method = \"pretrain\", now it is \"joint\""]);

    fs::create_dir(dir.path("mine")).unwrap();
    fs::write(dir.path("mine/notes.txt"), "mine").unwrap();
    let mine = &mut dir.pretrain("mine", &once);
    dir.assert_refused(
        mine,
        2,
        &["mine: found other files and no config.toml, expected a run"],
    );

    let other = [&once[..], &["--seed", "7", "--force"]].concat();
    assert_success(&dir.pretrain("run", &other).output().unwrap());
    assert_success(&dir.pretrain("fresh", &other).output().unwrap());
    crate::runs::assert_same_run(&dir.path("run"), &dir.path("fresh"));
}

#[test]
fn force_does_not_remove_an_input_of_the_run() {
    let dir = TestDir::new();
    assert_success(&dir.pretrain("run", &["--epochs", "1"]).output().unwrap());
    let init = ["--init", "run/best.safetensors", "--force"];
    let before = fs::read(dir.path("run/best.safetensors")).unwrap();
    let words = ["run/best.safetensors", "name another output"];
    dir.assert_refused(&mut dir.pretrain("run", &init), 2, &words);
    assert_eq!(fs::read(dir.path("run/best.safetensors")).unwrap(), before);
    assert!(dir.path("run/metrics.jsonl").exists());

    fs::rename(dir.path("a.db"), dir.path("run/atta.db")).unwrap();
    std::os::unix::fs::symlink("run/atta.db", dir.path("a.db")).unwrap();
    let words = ["a.db", "name another output"];
    dir.assert_refused(&mut dir.joint("run", &["--force"]), 2, &words);
    assert!(dir.path("run/atta.db").exists());
}

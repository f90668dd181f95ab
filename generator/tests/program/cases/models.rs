//! Foreign models: normalization, accuracy far below the weights' metadata, overlapping seeds, zero gradients.

use candle_core::Device;
use data::Split;
use nn::model::{Loaded, Metadata, Origin, predicted_classes};
use store::Store;

use super::{GAUSSIAN, stderr, write_model};
use crate::common::TestDir;
use library_tests::assert_success;

#[test]
fn normalization_is_kept_in_the_store_and_is_the_first_layer_of_the_model() {
    let dir = TestDir::new();
    let given = [
        "--mean",
        "0.4914,0.4822,0.4465",
        "--std",
        "0.2023,0.1994,0.2010",
    ];
    assert_success(
        &dir.build("a.db", &[&GAUSSIAN[..], &given].concat())
            .output()
            .unwrap(),
    );
    let config = dir.info("a.db")["model"]["config"].clone();
    assert_eq!(
        (&config["mean"], &config["std"]),
        (&given[1].into(), &"0.2023,0.1994,0.201".into())
    );
    // The same from the header of the weights.
    write_model(&dir, &[("mean", given[1]), ("std", given[3])]);
    assert_success(&dir.build("b.db", &GAUSSIAN).output().unwrap());
    let preds = |db: &str| {
        Store::open(&dir.path(db))
            .unwrap()
            .load(Split::Train)
            .unwrap()
            .preds
    };
    assert_eq!(preds("a.db"), preds("b.db"));
    // What the store says is what the normalized model says.
    let table = Store::open(&dir.path("b.db"))
        .unwrap()
        .load(Split::Train)
        .unwrap();
    let loaded = Loaded::read(&dir.path("model.safetensors"), None, &Device::Cpu).unwrap();
    let clean: Vec<u8> = (0..table.len())
        .flat_map(|row| table.variant(row, 0).to_vec())
        .collect();
    let images = attacks::quantize::to_tensor(&clean, &Device::Cpu).unwrap();
    let logits = loaded.network.eval().unwrap().logits(&images).unwrap();
    assert_eq!(predicted_classes(&logits).unwrap(), table.clean_preds);
    // What contradicts the header is refused, and so is one of the two alone.
    let other = ["--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5"];
    let words = [
        "model.safetensors: its header says mean 0.4914",
        "contradict",
    ];
    dir.assert_refused(
        &mut dir.build("c.db", &[&GAUSSIAN[..], &other].concat()),
        2,
        &words,
    );
    let alone = dir
        .build("c.db", &["--mean", "0.5,0.5,0.5"])
        .output()
        .unwrap();
    assert_eq!(alone.status.code(), Some(2));
    for mean in ["125,123,114", "-0.1,0,0"] {
        let args = ["--mean", mean, "--std", "60,60,60"];
        let words = ["--mean", "from 0 to 1"];
        dir.assert_refused(&mut dir.build("c.db", &args), 2, &words);
    }
}

#[test]
fn a_model_far_below_its_header_is_a_warning_that_names_normalization() {
    let dir = TestDir::new();
    write_model(&dir, &[("accuracy", "0.925")]);
    let output = dir.build("a.db", &GAUSSIAN).output().unwrap();
    assert_success(&output);
    let text = stderr(&output);
    for word in [
        "model.safetensors: ",
        "its header says 92.5 %",
        "--mean, --std",
        "order of the classes",
    ] {
        assert!(text.contains(word), "{word} in {text}");
    }
    // It stands at the end again, and in the store.
    assert!(
        text.contains("\n1 warning:\n  model.safetensors: "),
        "{text}"
    );
    let info = dir.run(&["info", "a.db"]);
    assert!(String::from_utf8_lossy(&info.stdout).contains("its header says 92.5 %"));
}

#[test]
fn a_model_trained_on_images_of_val_is_a_warning_that_names_both_seeds() {
    let dir = TestDir::new();
    let data = data::load(&dir.path("data"), 0, None).unwrap();
    let write = |split_seed| {
        let mut metadata = Metadata::new();
        let source_hash = data.source_hash.clone();
        Origin {
            source_hash,
            split_seed,
        }
        .write(&mut metadata);
        let entries: Vec<(&str, &str)> = metadata
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        write_model(&dir, &entries);
    };
    write(1);
    let output = dir.build("a.db", &GAUSSIAN).output().unwrap();
    assert_success(&output);
    let text = stderr(&output);
    let overlap = data.val_trained_on(1);
    assert!(overlap > 0);
    let expected = format!(
        "trained with --seed 1, this build has --seed 0: {overlap} of the {} val",
        data.val.len()
    );
    assert!(text.contains(&expected), "{text}");
    write(0);
    let output = dir.build("b.db", &GAUSSIAN).output().unwrap();
    assert!(!stderr(&output).contains("--seed"), "{}", stderr(&output));
}

#[test]
fn unchanged_samples_are_counted_and_more_than_a_tenth_is_a_warning() {
    let dir = TestDir::new();
    // Nine in ten images are misclassified by a model that was never trained: DeepFool leaves them.
    let deepfool = ["--attacks", "gaussian,deepfool"];
    let output = dir.build("a.db", &deepfool).output().unwrap();
    assert_success(&output);
    let text = stderr(&output);
    assert!(
        text.contains("warning: deepfool: ") && text.contains("equal their clean images"),
        "{text}"
    );
    assert!(!text.contains("warning: gaussian: "), "{text}");
    let info = dir.info("a.db");
    let mut unchanged = 0;
    for row in info["summary"].as_array().unwrap() {
        let count = row["unchanged"].as_u64().unwrap();
        if row["attack"] == "deepfool" {
            assert_eq!(row["unchanged_misclassified"], count);
            unchanged += count;
        } else {
            assert_eq!(count, 0);
        }
    }
    let equal = |split| {
        let table = Store::open(&dir.path("a.db")).unwrap().load(split).unwrap();
        (0..table.len())
            .filter(|row| table.variant(*row, 2) == table.variant(*row, 0))
            .count() as u64
    };
    assert_eq!(unchanged, Split::ALL.map(equal).iter().sum::<u64>());
    let shown = dir.run(&["info", "a.db"]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("unchanged"));
}

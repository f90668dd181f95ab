//! `trainer eval` on arrays, on the files of CIFAR-10-C and on computed corruptions.

use std::{fs, path::Path};

use data::{
    Image, Split,
    corruptions::{CORRUPTIONS, Corruption, KeyedNoise, Severity},
    interleaved,
};
use serde_json::{Value, json};

use crate::common::TestDir;
use library_tests::{assert_success, edit};

const MODEL: [&str; 2] = ["--model", "model.safetensors"];

/// Writes an array as NumPy does.
fn write_npy(path: &Path, descr: &str, shape: &str, data: &[u8]) {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    let mut bytes = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    bytes.extend(format!("{header:<117}\n").bytes());
    bytes.extend(data);
    fs::write(path, bytes).unwrap();
}

fn write_images(path: &Path, images: &[Vec<u8>]) {
    let shape = format!("({}, 32, 32, 3)", images.len());
    let pixels: Vec<u8> = images.iter().flat_map(|image| interleaved(image)).collect();
    write_npy(path, "|u1", &shape, &pixels);
}

/// Labels in 8 bytes each, as NumPy's own integers.
fn write_labels(path: &Path, labels: &[u8]) {
    let data = labels
        .iter()
        .flat_map(|label| i64::from(*label).to_le_bytes());
    let shape = format!("({},)", labels.len());
    write_npy(path, "<i8", &shape, &data.collect::<Vec<_>>());
}

/// The images of a split, and the id of the first.
fn images(dir: &TestDir, split: Split) -> (Vec<Image>, u64) {
    let data = data::load(&dir.path("data"), 0, None).unwrap();
    let mut ids = data.images().filter(|(_, part, _)| *part == split);
    let (first, ..) = ids.next().unwrap();
    (data.split(split).to_vec(), first)
}

/// Writes the images of a split as `x.npy`, their labels as `y.npy`.
fn write_arrays(dir: &TestDir, split: Split) {
    let (images, _) = images(dir, split);
    let pixels: Vec<Vec<u8>> = images.iter().map(|image| image.pixels.to_vec()).collect();
    write_images(&dir.path("x.npy"), &pixels);
    write_labels(&dir.path("y.npy"), &labels(&images));
}

fn labels(images: &[Image]) -> Vec<u8> {
    images.iter().map(|image| image.label).collect()
}

fn json(dir: &TestDir, args: &[&str]) -> Value {
    let output = dir.run(&[&["eval", "--json"], &MODEL[..], args].concat());
    assert_success(&output);
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text(dir: &TestDir, args: &[&str]) -> String {
    let output = dir.run(&[&["eval"], &MODEL[..], args].concat());
    assert_success(&output);
    String::from_utf8(output.stdout).unwrap()
}

/// CIFAR-10-C of the val images with these corruptions, computed with the program's noise.
fn write_cifar10_c(dir: &TestDir, names: &[&str]) {
    let (images, first_id) = images(dir, Split::Val);
    fs::create_dir_all(dir.path("c")).unwrap();
    for name in names {
        let row = Corruption::named(name).unwrap();
        let of = |severity: Severity| {
            let images = images.iter().zip(first_id..);
            images.map(move |(image, id)| {
                let mut noise = KeyedNoise::new(0, row, severity, id);
                let computed = row.computed.unwrap();
                computed.apply(&image.pixels, severity, &mut noise)
            })
        };
        let all: Vec<Vec<u8>> = Severity::ALL.into_iter().flat_map(of).collect();
        write_images(&dir.path(&format!("c/{name}.npy")), &all);
    }
    write_labels(&dir.path("c/labels.npy"), &labels(&images).repeat(5));
}

#[test]
fn images_and_labels_in_numpy_arrays_give_the_accuracy_of_the_same_images_in_a_store() {
    let dir = TestDir::new();
    let arrays = ["--images", "x.npy", "--labels", "y.npy"];
    let stored = dir.eval(&MODEL);
    for (result, split) in [(0, Split::Val), (1, Split::Test)] {
        let stored = &stored["splits"][result];
        write_arrays(&dir, split);
        let result = json(&dir, &arrays);
        let accuracy = result["accuracy"].as_f64().unwrap();
        assert_eq!(result["accuracy"], stored["clean"]);
        assert_eq!(result["images"], stored["images"]);
        let images = result["images"].as_f64().unwrap();
        assert_eq!(result["correct"], (images * accuracy).round() as u64);
        assert_eq!(result["model"]["method"], "pretrain");
        let line = format!(
            "accuracy {:.2} ({} of {images} images)",
            100.0 * accuracy,
            result["correct"]
        );
        let printed = text(&dir, &arrays);
        assert!(printed.contains(&line), "{printed}");
    }
    // Numbers that tell splits apart: the test could fail.
    assert_ne!(stored["splits"][0]["clean"], stored["splits"][1]["clean"]);

    // A part of them, balanced.
    let limited = json(&dir, &[&arrays[..], &["--limit", "10"]].concat());
    assert_eq!(limited["images"], 10);
    // The first class alone: said.
    write_labels(&dir.path("y.npy"), &[0; 20]);
    let zeros = json(&dir, &arrays);
    let warning = zeros["warnings"][0].as_str().unwrap();
    assert!(warning.contains("the labels are 0 to 0, the model has 10 classes"));
}

#[test]
fn computed_corruptions_and_the_same_ones_in_files_of_cifar10_c_give_the_same_table() {
    let dir = TestDir::new();
    let names: Vec<&str> = Corruption::all_computed()
        .map(|(row, _)| row.name)
        .collect();
    write_cifar10_c(&dir, &names);
    let files = json(&dir, &["--cifar10-c", "c"]);
    let data = ["--data", "data", "--split", "val", "--batch-size", "7"];
    let computed = json(&dir, &[&data[..], &["--corruptions", "all"]].concat());
    for key in [
        "corruptions",
        "mean",
        "mean_without_noise",
        "missing",
        "cells",
        "images",
    ] {
        assert_eq!(files[key], computed[key], "{key}");
    }
    assert_eq!(files["source"], "files");
    assert_eq!(computed["source"], "computed");
    assert_eq!(files["clean"], Value::Null);
    assert_eq!(
        (&files["images"], &files["cells"]),
        (&json!(10), &json!(5 * names.len()))
    );
    let rows = files["corruptions"].as_array().unwrap();
    assert_eq!(rows.len(), CORRUPTIONS.len());
    // Numbers that tell cells apart: the test could fail.
    let clean = &computed["clean"];
    let cells = rows
        .iter()
        .flat_map(|row| row["severities"].as_array().unwrap());
    let other = cells
        .filter(|cell| !cell.is_null() && *cell != clean)
        .count();
    assert!(
        other > 0 && other < 5 * names.len(),
        "{other} cells: {rows:?}"
    );
    // Labels of one severity are those of all.
    let (images, _) = images(&dir, Split::Val);
    write_labels(&dir.path("c/labels.npy"), &labels(&images));
    assert_eq!(json(&dir, &["--cifar10-c", "c"]), files);
}

#[test]
fn missing_files_of_cifar10_c_are_reported_and_left_out_of_the_means() {
    let dir = TestDir::new();
    write_cifar10_c(&dir, &["gaussian_noise", "contrast"]);
    let result = json(&dir, &["--cifar10-c", "c"]);
    assert_eq!(
        (&result["cells"], &result["all_cells"]),
        (&json!(10), &json!(75))
    );
    assert_eq!(result["missing"].as_array().unwrap().len(), 13);
    let mean = |name: &str| {
        let rows = result["corruptions"].as_array().unwrap();
        let row = rows.iter().find(|row| row["name"] == name).unwrap();
        row["mean"].as_f64()
    };
    assert_eq!(mean("snow"), None);
    assert_eq!(result["mean_without_noise"].as_f64(), mean("contrast"));
    let both = (mean("gaussian_noise").unwrap() + mean("contrast").unwrap()) / 2.0;
    assert!((result["mean"].as_f64().unwrap() - both).abs() < 1e-12);
    let warnings = result["warnings"].as_array().unwrap();
    let snow = |warning: &Value| warning.as_str().unwrap().contains("c: no snow.npy");
    assert!(warnings.iter().any(snow), "{warnings:?}");
    let printed = text(&dir, &["--cifar10-c", "c"]);
    assert!(printed.contains("over 10 of 75 cells"), "{printed}");
    assert!(printed.contains("not evaluated: shot_noise, "), "{printed}");
    let row = printed
        .lines()
        .find(|line| line.starts_with("snow"))
        .unwrap();
    assert_eq!(row.matches('–').count(), 6, "{row}");
}

#[test]
fn chosen_corruptions_and_severities_are_those_of_the_whole_table() {
    let dir = TestDir::new();
    let data = ["--data", "data", "--corruptions"];
    let all = json(&dir, &[&data[..], &["all"]].concat());
    let some = ["pixelate,gaussian_noise", "--severity", "5,2"];
    let some = json(&dir, &[&data[..], &some].concat());
    assert_eq!((&some["cells"], &some["clean"]), (&json!(4), &all["clean"]));
    let rows = |result: &Value| result["corruptions"].as_array().unwrap().clone();
    for (some, all) in rows(&some).iter().zip(rows(&all)) {
        let chosen = ["pixelate", "gaussian_noise"].contains(&some["name"].as_str().unwrap());
        for severity in 0..5 {
            let expected = match chosen && (severity == 1 || severity == 4) {
                true => &all["severities"][severity],
                false => &Value::Null,
            };
            assert_eq!(&some["severities"][severity], expected, "{some}");
        }
    }
    // The noise is the seed's, and an image's noise the same with and without a limit.
    let noise = [&data[..], &["gaussian_noise", "--severity", "5"]].concat();
    let limited = json(&dir, &[&noise[..], &["--limit", "20"]].concat());
    assert_eq!(limited["corruptions"], json(&dir, &noise)["corruptions"]);
    let val = json(&dir, &[&noise[..], &["--split", "val"]].concat());
    assert_eq!(val["images"], 10);
}

#[test]
fn a_model_trained_on_val_images_of_a_data_set_is_not_evaluated_on_val() {
    let dir = TestDir::new();
    let other = [
        "eval",
        "--data",
        "data",
        "--corruptions",
        "all",
        "--split",
        "val",
        "--seed",
        "1",
    ];
    let words = [
        "model.safetensors: found trained with --seed 0",
        "--split test",
    ];
    dir.assert_refused(
        &mut dir.command(&[&other[..], &MODEL[..]].concat()),
        3,
        &words,
    );
}

#[test]
fn exactly_one_source_of_images_is_taken_and_options_of_another_are_refused() {
    let dir = TestDir::new();
    let refused = |args: &[&str], words: &[&str]| {
        dir.assert_refused(
            &mut dir.command(&[&["eval"], &MODEL[..], args].concat()),
            2,
            words,
        );
    };
    refused(&[], &["--db <DB>", "--cifar10-c <DIR>"]);
    refused(
        &["--db", "a.db", "--cifar10-c", "c"],
        &["--db <DB>", "--cifar10-c"],
    );
    refused(
        &["--db", "a.db", "--data", "data", "--corruptions", "all"],
        &["--db <DB>"],
    );
    refused(&["--images", "x.npy"], &["--labels <Y.npy>"]);
    refused(&["--data", "data"], &["--corruptions <NAMES>"]);
    refused(
        &["--data", "data", "--corruptions", "snow"],
        &["snow", "gaussian_noise"],
    );
    refused(
        &["--data", "data", "--corruptions", "all", "--severity", "6"],
        &["--severity", "a severity is 1, 2, 3, 4 or 5"],
    );
    refused(
        &["--data", "data", "--corruptions", "all", "--limit", "15"],
        &["limit 15: it must be a multiple of 10"],
    );
    refused(
        &["--data", "data", "--corruptions", "all", "--limit", "30"],
        &["limit 30 asks for 3 images of each class: the rarest has 2"],
    );
    for option in [
        ["--labels", "y.npy"],
        ["--corruptions", "all"],
        ["--severity", "1"],
        ["--limit", "10"],
        ["--seed", "0"],
    ] {
        refused(
            &[&["--db", "a.db"], &option[..]].concat(),
            &[option[0], "cannot be used with"],
        );
    }
    for option in [
        ["--detector", "d"],
        ["--adv-ratio", "0.5"],
        ["--split", "test"],
    ] {
        let args = [&["--cifar10-c", "c"], &option[..]].concat();
        refused(&args, &[option[0], "cannot be used with"]);
    }
}

#[test]
fn arrays_that_do_not_fit_are_refused_by_name() {
    let dir = TestDir::new();
    let refused = |args: &[&str], words: &[&str]| {
        dir.assert_refused(
            &mut dir.command(&[&["eval"], &MODEL[..], args].concat()),
            3,
            words,
        );
    };
    let arrays = ["--images", "x.npy", "--labels", "y.npy"];
    refused(&arrays, &["x.npy: cannot read"]);
    write_images(&dir.path("x.npy"), &vec![vec![9; 3072]; 4]);
    refused(&arrays, &["y.npy: cannot read"]);
    write_labels(&dir.path("y.npy"), &[0, 1, 2]);
    refused(
        &arrays,
        &["y.npy: found 3 labels, expected 4, as many as x.npy has images"],
    );
    write_labels(&dir.path("y.npy"), &[0, 1, 2, 10]);
    refused(
        &arrays,
        &["y.npy, entry 3: found label 10, expected 0 to 9"],
    );
    refused(
        &["--images", "y.npy", "--labels", "y.npy"],
        &["y.npy: found shape (4,) of <i8, expected shape (N, 32, 32, 3)"],
    );
    edit(&dir.path("x.npy"), |bytes| bytes.truncate(bytes.len() - 1));
    refused(
        &arrays,
        &["x.npy: found 12287 bytes after the header, expected 12288"],
    );

    fs::create_dir(dir.path("c")).unwrap();
    let folder = ["--cifar10-c", "c"];
    refused(&["--cifar10-c", "gone"], &["gone: cannot read"]);
    refused(
        &folder,
        &["c: found none, expected files of CIFAR-10-C such as gaussian_noise.npy"],
    );
    write_cifar10_c(&dir, &["contrast"]);
    let rename = |from: &str, to: &str| fs::rename(dir.path(from), dir.path(to)).unwrap();
    rename("c/labels.npy", "c/kept.npy");
    refused(&folder, &["c/labels.npy: cannot read"]);
    write_labels(&dir.path("c/labels.npy"), &[1; 9]);
    refused(
        &folder,
        &["c/labels.npy: found 9 labels, expected 10 or 50"],
    );
    write_labels(&dir.path("c/labels.npy"), &[[1; 25], [2; 25]].concat());
    refused(
        &folder,
        &["c/labels.npy: found other labels for a higher severity"],
    );
    rename("c/kept.npy", "c/labels.npy");
    write_images(&dir.path("c/fog.npy"), &vec![vec![9; 3072]; 7]);
    refused(
        &folder,
        &["c/fog.npy: found 7 images, expected as many of each of 5 severities"],
    );
    write_images(&dir.path("c/fog.npy"), &vec![vec![9; 3072]; 250]);
    refused(
        &folder,
        &["c/contrast.npy: found 50 images, expected as many as in the other files"],
    );
}

//! `trainer eval` on arrays, on the files of CIFAR-10-C and on computed corruptions.

mod refusals;

use std::{fs, path::Path};

use data::{
    Image, Split,
    corruptions::{CORRUPTIONS, Corruption, KeyedNoise, Severity},
    interleaved,
};
use serde_json::{Value, json};

use crate::common::TestDir;
use library_tests::assert_success;

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

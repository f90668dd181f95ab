//! Refusals of `trainer eval` on arrays and corruptions.

use std::fs;

use super::{MODEL, write_cifar10_c, write_images, write_labels};
use crate::common::TestDir;
use library_tests::edit;

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

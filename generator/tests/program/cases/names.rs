//! Names of folders, files and classes: they change the order of labels, never content hashes.

use std::{fs, process::Command};

use data::CIFAR10;
use serde_json::Value;

use super::{GAUSSIAN, build_from, built, image_folder, stderr};
use crate::common::TestDir;
use library_tests::assert_success;

#[test]
fn the_content_hash_does_not_depend_on_names_of_folders_and_files() {
    let dir = built(&[]);
    let expected = dir.hash("a.db");
    // A folder of another name, and the archive of it.
    fs::rename(dir.path("data"), dir.path("bob")).unwrap();
    let packed = Command::new("tar")
        .args(["-czf", "whatever.tar.gz", "bob"])
        .current_dir(dir.path("."))
        .status();
    assert!(packed.unwrap().success());
    for (data, out) in [("bob", "b.db"), ("whatever.tar.gz", "c.db")] {
        assert_success(&build_from(&dir, data, out, &[]).output().unwrap());
        assert_eq!(dir.hash(out), expected, "{data}");
    }
    // A build that was begun from the one is resumed, or complete, from the other.
    let again = build_from(&dir, "whatever.tar.gz", "a.db", &[])
        .output()
        .unwrap();
    assert_success(&again);
    assert!(stderr(&again).contains("a.db: already complete"));
    // Shards of both make one store.
    for (data, shard) in [("bob", "1/2"), ("whatever.tar.gz", "2/2")] {
        let out = format!("{}.db", &shard[..1]);
        assert_success(
            &build_from(&dir, data, &out, &["--shard", shard])
                .output()
                .unwrap(),
        );
    }
    assert_success(&dir.run(&["merge", "--out", "merged.db", "1.db", "2.db"]));
    assert_eq!(dir.hash("merged.db"), expected);
}

#[test]
fn the_content_hash_does_not_depend_on_names_of_image_files() {
    let dir = TestDir::new();
    image_folder(&dir, "a", CIFAR10.classes, |index| format!("{index:04}"));
    image_folder(&dir, "b", CIFAR10.classes, |index| {
        format!("x{:04}", 9999 - index)
    });
    for data in ["a", "b"] {
        let out = format!("{data}.db");
        assert_success(&build_from(&dir, data, &out, &[]).output().unwrap());
    }
    assert_eq!(dir.hash("a.db"), dir.hash("b.db"));
    // Other pixels are another content, and the resumed build says what differs.
    let file = dir
        .path("b/train/cat")
        .read_dir()
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    image::RgbImage::new(32, 32).save(file.path()).unwrap();
    let other = &mut build_from(&dir, "b", "a.db", &[]);
    dir.assert_refused(other, 2, &["a.db: source hash: the file has "]);
}

#[test]
fn the_content_hash_does_not_depend_on_the_name_of_the_preset() {
    let dir = built(&["--preset", "paper"]);
    let output = dir.build("a.db", &[&GAUSSIAN[..], &["--preset", "standard"]].concat());
    assert_success(&{ output }.output().unwrap());
}

#[test]
fn class_folders_of_other_names_are_a_warning_and_their_names_are_kept() {
    let dir = TestDir::new();
    let capital: Vec<_> = (CIFAR10.classes.iter())
        .map(|&name| if name == "truck" { "Truck" } else { name })
        .collect();
    let numbers: Vec<String> = (1..=10).map(|number| format!("class{number}")).collect();
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    for (data, classes) in [
        ("official", CIFAR10.classes),
        ("capital", &capital),
        ("numbers", &numbers),
    ] {
        image_folder(&dir, data, classes, |index| index.to_string());
        let out = format!("{data}.db");
        let output = build_from(&dir, data, &out, &[]).output().unwrap();
        assert_success(&output);
        let order = classes.join(", ");
        let warned = stderr(&output).contains(&format!("labels 0 to 9 are taken to be {order}"));
        assert_eq!(warned, data != "official", "{}", stderr(&output));
        let info = dir.info(&out);
        assert_eq!(info["meta"]["classes"], Value::from(classes));
        let kept = info["meta"]["warnings"]
            .to_string()
            .contains("are taken to be");
        assert_eq!(kept, warned, "the store keeps it");
        // No label has shifted.
        assert_eq!(dir.hash(&out), dir.hash("official.db"));
        let exported = format!("{data}.png");
        assert_success(&dir.run(&["export", &out, "--format", "png", "--out", &exported]));
        for class in classes {
            assert!(
                dir.path(&format!("{exported}/train/clean/{class}"))
                    .is_dir()
            );
        }
    }
}

#[test]
fn a_class_folder_of_train_alone_is_named() {
    let dir = TestDir::new();
    image_folder(&dir, "images", CIFAR10.classes, |index| index.to_string());
    fs::create_dir(dir.path("images/train/backup")).unwrap();
    let words = [
        "images/test: found airplane, automobile, bird, ",
        "the classes of train: airplane, automobile, backup, ",
    ];
    dir.assert_refused(&mut build_from(&dir, "images", "a.db", &[]), 3, &words);
}

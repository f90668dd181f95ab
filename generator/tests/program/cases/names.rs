//! Names of folders, files and classes: what they change (the order of labels) and what not (content hashes).

use std::{fs, process::Command};

use data::CIFAR10;
use serde_json::Value;

use super::{GAUSSIAN, build_from, built, image_folder, said};
use crate::{common::Workshop, programs::done};

#[test]
fn the_content_hash_does_not_depend_on_names_of_folders_and_files() {
    let workshop = built(&[]);
    let expected = workshop.hash("a.db");
    // A folder of another name, and the archive of it.
    fs::rename(workshop.path("data"), workshop.path("bob")).unwrap();
    let packed = Command::new("tar")
        .args(["-czf", "whatever.tar.gz", "bob"])
        .current_dir(workshop.path("."))
        .status();
    assert!(packed.unwrap().success());
    for (data, out) in [("bob", "b.db"), ("whatever.tar.gz", "c.db")] {
        done(&build_from(&workshop, data, out, &[]).output().unwrap());
        assert_eq!(workshop.hash(out), expected, "{data}");
    }
    // A build that was begun from the one is resumed, or complete, from the other.
    let again = build_from(&workshop, "whatever.tar.gz", "a.db", &[])
        .output()
        .unwrap();
    done(&again);
    assert!(said(&again).contains("a.db: already complete"));
    // Shards of both make one store.
    for (data, shard) in [("bob", "1/2"), ("whatever.tar.gz", "2/2")] {
        let out = format!("{}.db", &shard[..1]);
        done(
            &build_from(&workshop, data, &out, &["--shard", shard])
                .output()
                .unwrap(),
        );
    }
    done(&workshop.run(&["merge", "--out", "merged.db", "1.db", "2.db"]));
    assert_eq!(workshop.hash("merged.db"), expected);
}

#[test]
fn the_content_hash_does_not_depend_on_names_of_image_files() {
    let workshop = Workshop::new();
    image_folder(&workshop, "a", CIFAR10.classes, |index| {
        format!("{index:04}")
    });
    image_folder(&workshop, "b", CIFAR10.classes, |index| {
        format!("x{:04}", 9999 - index)
    });
    for data in ["a", "b"] {
        let out = format!("{data}.db");
        done(&build_from(&workshop, data, &out, &[]).output().unwrap());
    }
    assert_eq!(workshop.hash("a.db"), workshop.hash("b.db"));
    // Other pixels are another content, and the resumed build says what differs.
    let file = workshop
        .path("b/train/cat")
        .read_dir()
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    image::RgbImage::new(32, 32).save(file.path()).unwrap();
    let other = &mut build_from(&workshop, "b", "a.db", &[]);
    workshop.refuses(other, 2, &["a.db: source hash: the file has "]);
}

#[test]
fn the_name_of_a_preset_is_no_content() {
    let workshop = built(&["--preset", "paper"]);
    let output = workshop.build("a.db", &[&GAUSSIAN[..], &["--preset", "standard"]].concat());
    done(&{ output }.output().unwrap());
}

#[test]
fn class_folders_of_other_names_are_a_warning_and_their_names_are_kept() {
    let workshop = Workshop::new();
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
        image_folder(&workshop, data, classes, |index| index.to_string());
        let out = format!("{data}.db");
        let output = build_from(&workshop, data, &out, &[]).output().unwrap();
        done(&output);
        let order = classes.join(", ");
        let warned = said(&output).contains(&format!("labels 0 to 9 are taken to be {order}"));
        assert_eq!(warned, data != "official", "{}", said(&output));
        let info = workshop.info(&out);
        assert_eq!(info["meta"]["classes"], Value::from(classes));
        let kept = info["meta"]["warnings"]
            .to_string()
            .contains("are taken to be");
        assert_eq!(kept, warned, "the store keeps it");
        // No label has shifted.
        assert_eq!(workshop.hash(&out), workshop.hash("official.db"));
        let exported = format!("{data}.png");
        done(&workshop.run(&["export", &out, "--format", "png", "--out", &exported]));
        for class in classes {
            assert!(
                workshop
                    .path(&format!("{exported}/train/clean/{class}"))
                    .is_dir()
            );
        }
    }
}

#[test]
fn a_class_folder_of_train_alone_is_named() {
    let workshop = Workshop::new();
    image_folder(&workshop, "images", CIFAR10.classes, |index| {
        index.to_string()
    });
    fs::create_dir(workshop.path("images/train/backup")).unwrap();
    let words = [
        "images/test: found airplane, automobile, bird, ",
        "the classes of train: airplane, automobile, backup, ",
    ];
    workshop.refuses(&mut build_from(&workshop, "images", "a.db", &[]), 3, &words);
}

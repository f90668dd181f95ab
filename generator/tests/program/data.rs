//! Refusals of missing or wrong images: the error names the file, what was found and what was expected.

use std::{fs, process::Command};

use crate::common::TestDir;
use library_tests::{assert_success, edit};

#[test]
fn missing_files_are_named() {
    let dir = TestDir::new();
    let missing = |args: &[&str], name: &str| {
        dir.assert_refused(&mut dir.command(args), 3, &[name, ": cannot "]);
    };
    let build = |data, model| {
        let args = ["build", "--out", "a.db", "--data", data, "--model", model];
        missing(&args, "gone");
    };
    build("gone", "model.safetensors");
    build("data", "gone");
    missing(&["verify", "gone.db"], "gone.db");
    missing(&["info", "gone.db"], "gone.db");
    missing(&["preview", "gone.db", "--out", "a.png"], "gone.db");
    missing(&["attacks", "--attacks-config", "gone.toml"], "gone.toml");
}

#[test]
fn an_attacks_config_that_is_not_utf8_is_refused() {
    let dir = TestDir::new();
    fs::write(dir.path("a.toml"), b"[cw]\nsteps = \xff\n").unwrap();
    let attacks = &mut dir.command(&["attacks", "--attacks-config", "a.toml"]);
    dir.assert_refused(attacks, 3, &["a.toml: found ", "expected text in UTF-8"]);
}

#[test]
fn batch_files_of_a_wrong_length_or_label_are_refused() {
    let dir = TestDir::new();
    let batch = dir.path("data/data_batch_3.bin");
    edit(&batch, |bytes| bytes.truncate(3073 * 10 - 1));
    let expected = ["data_batch_3.bin: found 30729 bytes, expected a multiple of 3073"];
    dir.assert_refused(&mut dir.build("a.db", &[]), 3, &expected);

    edit(&batch, |bytes| {
        bytes.push(0);
        bytes[3073 * 4] = 10;
    });
    let expected = ["data_batch_3.bin, record 4: found label 10, expected 0 to 9"];
    dir.assert_refused(&mut dir.build("a.db", &[]), 3, &expected);

    fs::remove_file(batch).unwrap();
    let expected = ["data: found no data_batch_3.bin", "expected numbers from 1"];
    dir.assert_refused(&mut dir.build("a.db", &[]), 3, &expected);
}

#[test]
fn an_archive_is_read_whole_or_refused() {
    let dir = TestDir::new();
    let archive = dir.path("cifar-10-binary.tar.gz");
    let mut tar = Command::new("tar");
    tar.arg("-czf").arg(&archive).arg("-C");
    assert!(
        tar.arg(dir.path("data"))
            .arg(".")
            .status()
            .unwrap()
            .success()
    );
    let build = || {
        let mut command = dir.command(&["build", "--attacks", "gaussian", "--out", "a.db"]);
        command.args([
            "--data",
            "cifar-10-binary.tar.gz",
            "--model",
            "model.safetensors",
        ]);
        command
    };
    edit(&archive, |bytes| bytes.truncate(bytes.len() / 2));
    let expected = ["cifar-10-binary.tar.gz: found ", "expected a whole .tar.gz"];
    dir.assert_refused(&mut build(), 3, &expected);

    assert!(tar.status().unwrap().success());
    assert_success(&build().output().unwrap());
    assert_eq!(dir.info("a.db")["splits"][0]["images"], 45);
}

#[test]
fn an_image_folder_needs_images_of_one_size_in_every_class() {
    let dir = TestDir::new();
    for part in ["train", "test"] {
        for class in 0..10u8 {
            let folder = dir.path(&format!("images/{part}/class{class}"));
            fs::create_dir_all(&folder).unwrap();
            let pixels = image::RgbImage::from_pixel(32, 32, image::Rgb([class, 100, 200]));
            for name in ["a.png", "b.jpg"] {
                pixels.save(folder.join(name)).unwrap();
            }
            fs::write(folder.join(".hidden"), "no image").unwrap();
        }
    }
    let build = || {
        let mut command = dir.command(&["build", "--attacks", "gaussian", "--out", "a.db"]);
        command.args(["--data", "images", "--model", "model.safetensors"]);
        command
    };
    let image_path = dir.path("images/train/class7/a.png");
    let whole = fs::read(&image_path).unwrap();
    image::RgbImage::new(33, 32).save(&image_path).unwrap();
    let expected = ["images/train/class7/a.png: found 33x32, expected 32x32"];
    dir.assert_refused(&mut build(), 3, &expected);

    fs::write(&image_path, &whole[..whole.len() / 2]).unwrap();
    let expected = [
        "images/train/class7/a.png: found ",
        "expected a PNG or JPEG image",
    ];
    dir.assert_refused(&mut build(), 3, &expected);

    fs::remove_file(&image_path).unwrap();
    let other = image_path.with_file_name("b.jpg");
    fs::rename(&other, dir.path("b.jpg")).unwrap();
    let expected = ["images/train/class7: found no images, expected at least one"];
    dir.assert_refused(&mut build(), 3, &expected);

    fs::write(&image_path, whole).unwrap();
    fs::rename(dir.path("b.jpg"), other).unwrap();
    assert_success(&build().output().unwrap());
    assert_eq!(dir.info("a.db")["splits"][2]["images"], 20);
}

//! Cases that users of other tools report; docs/cases.md lists them.

mod inputs;
mod models;
mod names;
mod replacing;

use std::{
    fs,
    process::{Command, Output},
};

use candle_core::Device;
use nn::model::Architecture;

use crate::common::TestDir;
use library_tests::assert_success;

const GAUSSIAN: [&str; 2] = ["--attacks", "gaussian"];

fn built(more: &[&str]) -> TestDir {
    let dir = TestDir::new();
    let build = &mut dir.build("a.db", &[&GAUSSIAN, more].concat());
    assert_success(&build.output().unwrap());
    dir
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A build from other data.
fn build_from(dir: &TestDir, data: &str, out: &str, more: &[&str]) -> Command {
    let mut command = dir.command(&["build", "--model", "model.safetensors"]);
    command.args(["--device", "cpu", "--data", data, "--out", out]);
    command.args(GAUSSIAN).args(more);
    command
}

/// The model of the dir again, with metadata.
fn write_model(dir: &TestDir, metadata: &[(&str, &str)]) {
    let model = Architecture::DEFAULT.init(2, 10, 1, &Device::Cpu).unwrap();
    let entries = metadata
        .iter()
        .map(|(key, value)| (key.to_string(), value.to_string()));
    let path = dir.path("model.safetensors");
    model.weights().write(&path, &entries.collect()).unwrap();
}

/// An image folder of the dir's data: a PNG for each image, under names that `name` makes of their index.
fn image_folder(dir: &TestDir, out: &str, classes: &[&str], name: impl Fn(usize) -> String) {
    let data = data::load(&dir.path("data"), 0, None).unwrap();
    let train = data.train.iter().chain(&data.val);
    for (part, images) in [
        ("train", train.collect::<Vec<_>>()),
        ("test", data.test.iter().collect()),
    ] {
        for class in classes {
            fs::create_dir_all(dir.path(&format!("{out}/{part}/{class}"))).unwrap();
        }
        for (index, image) in images.into_iter().enumerate() {
            let pixels = &image.pixels;
            let png = image::RgbImage::from_fn(32, 32, |x, y| {
                let at = (32 * y + x) as usize;
                image::Rgb([pixels[at], pixels[1024 + at], pixels[2048 + at]])
            });
            let class = classes[usize::from(image.label)];
            let file = format!("{out}/{part}/{class}/{}.png", name(index));
            png.save(dir.path(&file)).unwrap();
        }
    }
}

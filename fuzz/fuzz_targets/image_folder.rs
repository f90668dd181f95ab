//! Image folder of ten classes; the input is one image file in it.
#![no_main]

use std::{fs, path::PathBuf, sync::LazyLock};

use data::CIFAR10;
use libfuzzer_sys::fuzz_target;

static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let good = image::RgbImage::new(32, 32);
    for part in ["train", "test"] {
        for class in CIFAR10.classes {
            let path = fuzz::file(&format!("images/{part}/{class}/1.png"), b"");
            good.save(&path).expect("an image");
        }
    }
    fuzz::path("images")
});

fuzz_target!(|bytes: &[u8]| {
    let folder = &*FOLDER;
    fs::write(folder.join("train/cat/2"), bytes).expect("a file");
    if let Some(data) = fuzz::checked(data::load(folder, 0, None)) {
        assert_eq!(data.len(), 21);
    }
});

//! The real CIFAR-10 images, if a copy lies beside the repository: sizes and balance of the
//! official split.

use std::{path::Path, process::Command};

use data::{Image, Split, load};

#[test]
fn the_real_cifar10_images_are_split_as_in_the_paper() {
    let packed =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/cifar10/cifar10-jpeg.tar.xz");
    let dir = tempfile::tempdir().unwrap();
    if !packed.exists() {
        println!("skipped: there is no {}", packed.display());
        return;
    }
    let unpacked = Command::new("tar")
        .arg("-xJf")
        .arg(&packed)
        .arg("-C")
        .arg(dir.path())
        .status();
    if !unpacked.is_ok_and(|status| status.success()) {
        println!("skipped: no tar here that unpacks {}", packed.display());
        return;
    }
    let data = load(dir.path(), 0, None).unwrap();
    let lengths = Split::ALL.map(|split| data.split(split).len());
    assert_eq!(lengths, [45_000, 5_000, 10_000]);
    assert_eq!(per_class(&data.test), [1000; 10]);
    let (train, val) = (per_class(&data.train), per_class(&data.val));
    let both: Vec<usize> = train.iter().zip(val).map(|(a, b)| a + b).collect();
    assert_eq!(both, [5000; 10]);
}

fn per_class(images: &[Image]) -> [usize; 10] {
    let mut counts = [0; 10];
    for image in images {
        counts[usize::from(image.label)] += 1;
    }
    counts
}

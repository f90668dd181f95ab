//! Tests of sources and splits on files that they make.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};
use image::{ImageFormat, Rgb, RgbImage};

mod broken;
mod published;

use super::*;
use base::{Error, random::Stream};

const CLASSES: usize = CIFAR10.classes.len();

/// A batch in CIFAR-10's binary form with `each` images per class, of random pixels.
fn batch(index: u64, each: usize) -> Vec<u8> {
    let mut stream = Stream::new(1, "test-batch", &[index]);
    let labels = (0..each * CLASSES).map(|i| (i % CLASSES) as u8);
    labels
        .flat_map(|label| {
            let pixels: Vec<u8> = (0..IMAGE_BYTES).map(|_| stream.bits() as u8).collect();
            std::iter::once(label).chain(pixels)
        })
        .collect()
}

/// The files of a small set: `batches` of `each` images per class, and a test batch.
fn files(batches: u64, each: usize) -> Vec<(String, Vec<u8>)> {
    let train = (1..=batches).map(|n| (format!("data_batch_{n}.bin"), batch(n, each)));
    train
        .chain([("test_batch.bin".into(), batch(0, each))])
        .collect()
}

fn folder(at: &Path, files: &[(String, Vec<u8>)]) -> PathBuf {
    fs::create_dir_all(at).unwrap();
    for (name, bytes) in files {
        fs::write(at.join(name), bytes).unwrap();
    }
    at.to_path_buf()
}

fn tar_gz(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        let path = format!("a folder/{name}");
        tar.append_data(&mut header, path, bytes.as_slice())
            .unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

fn save(path: PathBuf, bytes: &[u8]) -> PathBuf {
    fs::write(&path, bytes).unwrap();
    path
}

/// An image folder with two images per class in `train` and in `test`: a PNG of the class's own color and a JPEG.
fn images(at: &Path) -> PathBuf {
    for part in ["train", "test"] {
        for (label, class) in CIFAR10.classes.iter().enumerate() {
            let class = at.join(part).join(class);
            fs::create_dir_all(&class).unwrap();
            let color = Rgb([label as u8, 100, 200]);
            let mut image = RgbImage::from_pixel(32, 32, color);
            image.put_pixel(1, 0, Rgb([7, 8, 9]));
            image.save(class.join("a.png")).unwrap();
            image
                .save_with_format(class.join("b.jpg"), ImageFormat::Jpeg)
                .unwrap();
            fs::write(class.join(".hidden"), "not an image").unwrap();
        }
    }
    at.to_path_buf()
}

#[test]
fn splits_are_read_back_as_they_are_printed() {
    for split in Split::ALL {
        assert_eq!(split.to_string().parse(), Ok(split));
    }
    assert!("Train".parse::<Split>().is_err());
}

#[test]
fn a_folder_its_parent_and_the_archive_of_the_same_data_agree() {
    let temp = tempfile::tempdir().unwrap();
    let files = files(11, 1);
    let inner = folder(&temp.path().join("cifar-10-batches-bin"), &files);
    let archive = save(temp.path().join("small.tar.gz"), &tar_gz(&files));
    // Of another tool, and of no matter beside the data.
    save(temp.path().join("labels.npy"), b"\x93NUMPY");
    let [from_inner, from_parent, from_archive] =
        [&inner, temp.path(), &archive].map(|path| load(path, 3, None).unwrap());
    assert_eq!(from_archive.name, "small");
    assert_eq!(from_inner.name, "cifar-10-batches-bin");
    assert_eq!(from_inner.train, from_archive.train);
    assert_eq!(from_inner.val, from_parent.val);
    assert_eq!(from_inner.test, from_archive.test);
    assert_eq!(from_inner.source_hash, from_archive.source_hash);

    // Label and pixels of all training batches in the order of their numbers (10 after 9, not
    // after 1), then of the test batch: the bytes of the files one after the other.
    let bytes: Vec<u8> = files.into_iter().flat_map(|(_, bytes)| bytes).collect();
    assert_eq!(
        from_inner.source_hash,
        blake3::hash(&bytes).to_hex().to_string()
    );
    for (_, split, image) in from_inner.images() {
        let first = if split == Split::Test { 110 } else { 0 };
        let record =
            &bytes[(first + image.source_index as usize) * (1 + IMAGE_BYTES)..][..=IMAGE_BYTES];
        assert_eq!((record[0], &record[1..]), (image.label, &*image.pixels));
    }
}

#[test]
fn the_split_is_a_seeded_tenth_and_ids_run_through_train_val_test() {
    let temp = tempfile::tempdir().unwrap();
    let path = folder(temp.path(), &files(3, 3));
    let data = load(&path, 0, None).unwrap();
    assert_eq!(
        [&data.train, &data.val, &data.test].map(Vec::len),
        [81, 9, 30]
    );
    assert_eq!(data, load(&path, 0, None).unwrap());
    assert_ne!(data.val, load(&path, 1, None).unwrap().val);

    let ids: Vec<u64> = data.images().map(|(id, ..)| id).collect();
    assert_eq!(ids, (0..data.len() as u64).collect::<Vec<_>>());
    let of =
        |split| move |&(_, s, p): &(u64, Split, &Image)| (s == split).then_some(p.source_index);
    let test: Vec<u32> = data.images().filter_map(|x| of(Split::Test)(&x)).collect();
    assert_eq!(
        test,
        (0..30).collect::<Vec<_>>(),
        "test images keep their order"
    );
    let training: BTreeSet<u32> = (data.train.iter().chain(&data.val))
        .map(|image| image.source_index)
        .collect();
    assert_eq!(
        training.len(),
        90,
        "no training image is in both splits or in none"
    );
    let order = base::random::permutation(90, 0, "split", &[]);
    assert!(
        data.val
            .iter()
            .zip(&order[81..])
            .all(|(p, &i)| p.source_index as usize == i)
    );
}

#[test]
fn a_limit_keeps_the_same_number_of_each_class_and_what_cannot_be_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let path = folder(temp.path(), &files(4, 50));
    let whole = load(&path, 5, None).unwrap();
    let data = load(&path, 5, Some(500)).unwrap();
    for (split, each) in [(&data.train, 50), (&data.val, 10), (&data.test, 10)] {
        assert_eq!(split.len(), each * CLASSES);
        for label in 0..CLASSES as u8 {
            assert_eq!(split.iter().filter(|p| p.label == label).count(), each);
        }
    }
    assert_eq!(data.source_hash, whole.source_hash);
    let firsts: Vec<&Image> = whole
        .train
        .iter()
        .filter(|p| p.label == 4)
        .take(50)
        .collect();
    let kept: Vec<&Image> = data.train.iter().filter(|p| p.label == 4).collect();
    assert_eq!(kept, firsts, "the first of each class in the split's order");
    assert!(data.val.iter().all(|p| whole.val.contains(p)));
    let test: Vec<u32> = data.test.iter().map(|p| p.source_index).collect();
    assert!(
        !test.is_sorted(),
        "a limited test set is drawn, not the first ones"
    );

    for limit in [0, 5, 15] {
        let error = load(&path, 5, Some(limit)).unwrap_err();
        assert!(
            matches!(&error, Error::Usage(m) if m.contains("multiple of 10")),
            "{error}"
        );
    }
    let rarest = |label| whole.train.iter().filter(|p| p.label == label).count();
    let rarest = (0..CLASSES as u8).map(rarest).min().unwrap();
    let error = load(&path, 5, Some(2000)).unwrap_err();
    let says = format!("the rarest has {rarest}");
    assert!(
        matches!(&error, Error::Usage(m) if m.ends_with(&says)),
        "{error}"
    );
    // 1,500 asks for 30 test images a class, which are there, and 30 of val, which are not.
    let data = load(&path, 5, Some(1500)).unwrap();
    assert_eq!(data.test.len(), 300);
    assert!(data.val.len() < 200 && data.val.len().is_multiple_of(CLASSES));
}

#[test]
fn an_image_folder_is_read_in_alphabetical_order_as_planar_pixels() {
    let temp = tempfile::tempdir().unwrap();
    let data = load(&images(temp.path()), 0, None).unwrap();
    assert_eq!(
        [&data.train, &data.val, &data.test].map(Vec::len),
        [18, 2, 20]
    );
    for (index, image) in data.test.iter().enumerate() {
        assert_eq!(usize::from(image.label), index / 2);
        let exact = index % 2 == 0;
        let planes: Vec<&[u8]> = image.pixels.chunks(IMAGE_BYTES / 3).collect();
        for (plane, (first, second)) in planes.iter().zip([(image.label, 7), (100, 8), (200, 9)]) {
            if exact {
                assert_eq!(plane[..3], [first, second, first]);
            } else {
                assert!(plane[1023].abs_diff(first) < 12, "a JPEG is near its image");
            }
        }
    }
}

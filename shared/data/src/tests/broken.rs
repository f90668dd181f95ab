//! Refusals: every wrong input is refused with one clear line.

use std::io::Write;

use super::*;

/// What is wrong with an input, how to make it in an empty folder, and what the message contains.
type Broken = (&'static str, fn(&Path) -> PathBuf, &'static [&'static str]);

#[rustfmt::skip]
const BROKEN: [Broken; 23] = [
    ("nothing there", |at| at.join("missing"), &["missing", "cannot read"]),
    ("an empty folder", |at| at.into(), &["data_batch_*.bin", ".tar.gz", "train/<class>/"]),
    ("another file", |at| save(at.join("a.txt"), b"text"), &["a.txt", "none of these"]),
    ("a partial record", |at| folder(at, &[("data_batch_1.bin".into(), vec![0; 4000])]),
        &["data_batch_1.bin", "found 4000 bytes", "multiple of 3073"]),
    ("an empty batch", |at| folder(at, &[("data_batch_1.bin".into(), vec![])]), &["found 0 bytes"]),
    ("label 10", |at| folder(at, &[("data_batch_1.bin".into(), { let mut b = batch(1, 1); b[2 * 3073] = 10; b })]),
        &["data_batch_1.bin, record 2: found label 10"]),
    ("no test batch", |at| folder(at, &files(2, 1)[..2]), &["no test_batch.bin"]),
    ("no training batch", |at| folder(at, &files(1, 1)[1..]), &["no data_batch_*.bin"]),
    ("a gap", |at| folder(at, &[&files(3, 1)[..1], &files(3, 1)[2..]].concat()), &["no data_batch_2.bin"]),
    ("a truncated archive", |at| { let b = tar_gz(&files(1, 1)); save(at.join("a.tar.gz"), &b[..b.len() / 2]) },
        &["a.tar.gz", "a whole .tar.gz"]),
    ("an archive without its checksum", |at| { let b = tar_gz(&files(1, 1)); save(at.join("a.tar.gz"), &b[..b.len() - 4]) },
        &["a whole .tar.gz"]),
    ("a corrupt archive", |at| { let mut b = tar_gz(&files(1, 1)); let half = b.len() / 2; b[half] ^= 255; save(at.join("a.tar.gz"), &b) },
        &["a whole .tar.gz"]),
    ("no gzip at all", |at| save(at.join("a.tar.gz"), &[7; 5000]), &["invalid gzip header"]),
    ("an archive of something else", |at| save(at.join("a.tar.gz"), &tar_gz(&[("readme.html".into(), vec![1; 10])])),
        &["a.tar.gz: found an archive without batches of a known data set"]),
    ("a batch twice", |at| save(at.join("a.tar.gz"), &tar_gz(&[files(1, 1), files(1, 1)].concat())), &["twice"]),
    ("a header that claims 1 TiB", |at| save(at.join("a.tar.gz"), &claim(1 << 40)), &["found 1099511627776 bytes", "at most"]),
    ("a header that claims more than there is", |at| save(at.join("a.tar.gz"), &claim(30_730)), &["found 3073 bytes", "30730"]),
    ("a large image", |at| { let at = images(at); RgbImage::new(64, 64).save(at.join("test/cat/a.png")).unwrap(); at },
        &["cat/a.png: found 64x64, expected 32x32"]),
    ("no image", |at| { let at = images(at); fs::write(at.join("train/dog/b.jpg"), "text").unwrap(); at },
        &["dog/b.jpg", "a PNG or JPEG image"]),
    ("an empty class", |at| { let at = images(at); empty(&at.join("train/dog")); at },
        &["dog: found no images"]),
    ("another class in test", |at| { let at = images(at); fs::remove_dir_all(at.join("train/dog")).unwrap(); at },
        &["test: found airplane, ", "the classes of train: airplane, "]),
    ("one class", |at| { fs::create_dir_all(at.join("train/dog")).unwrap(); at.into() },
        &["train: found 1 class folders (dog)", "expected 2 to 256, one for each class"]),
    ("a class name missing", |at| folder(at, &[&files(1, 1)[..], &[("batches.meta.txt".into(), b"cat\ndog\n".to_vec())]].concat()),
        &["batches.meta.txt: found 2 names, expected a name for each of 10 classes"]),
];

/// An archive of one batch of one record whose header says `size`.
fn claim(size: u64) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_path("data_batch_1.bin").unwrap();
    header.set_size(size);
    header.set_cksum();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(header.as_bytes()).unwrap();
    gzip.write_all(&batch(1, 1)[..3073]).unwrap();
    gzip.finish().unwrap()
}

fn empty(folder: &Path) {
    fs::remove_dir_all(folder).unwrap();
    fs::create_dir(folder).unwrap();
}

#[test]
fn every_wrong_input_is_named_with_what_was_found_and_expected() {
    for (what, make, words) in BROKEN {
        let temp = tempfile::tempdir().unwrap();
        let error = load(&make(temp.path()), 0, None).unwrap_err();
        assert_eq!(error.exit_code(), 3, "{what}: {error}");
        let text = error.to_string();
        assert!(
            words.iter().all(|part| text.contains(part)),
            "{what}: {text}"
        );
        assert!(!text.contains('\n'), "{what}: {text}");
    }
}

#[test]
fn test_classes_must_be_the_training_classes() {
    let temp = tempfile::tempdir().unwrap();
    let path = images(temp.path());
    fs::rename(path.join("test/dog"), path.join("test/wolf")).unwrap();
    let error = load(&path, 0, None).unwrap_err();
    assert!(
        matches!(&error, Error::Data { found, .. } if found.contains("wolf")),
        "{error}"
    );
    fs::remove_dir_all(path.join("test")).unwrap();
    assert_eq!(load(&path, 0, None).unwrap_err().exit_code(), 3);
}

//! Exports: NumPy arrays, PNG files, WebDataset shards, cards and packed stores hold the same images.

use std::{collections::BTreeMap, fs, io::Read, process::Command};

use data::Split;
use serde_json::Value;
use sha2::Digest;
use store::Store;

use crate::common::TestDir;
use library_tests::assert_success;

fn dir() -> TestDir {
    let dir = TestDir::new();
    let build = &mut dir.build("a.db", &["--attacks", "gaussian,fgsm"]);
    assert_success(&build.output().unwrap());
    dir
}

/// Of a PNG file the planar bytes.
fn planar(png: &[u8]) -> Vec<u8> {
    let image = image::load_from_memory(png).unwrap().into_rgb8();
    let plane = |plane: usize| image.pixels().map(move |pixel| pixel.0[plane]);
    (0..3).flat_map(plane).collect()
}

#[test]
fn every_export_format_has_every_image() {
    let dir = dir();
    for (format, out) in [("npz", "a.npz"), ("png", "png"), ("webdataset", "shards")] {
        assert_success(&dir.run(&["export", "a.db", "--format", format, "--out", out]));
        let again = ["export", "a.db", "--format", format, "--out", out];
        dir.assert_refused(&mut dir.command(&again), 2, &[out, "exists"]);
    }
    let file = fs::File::open(dir.path("a.npz")).unwrap();
    let mut archive = zip::ZipArchive::new(file).unwrap();
    let mut array = |name: &str| {
        let mut bytes = Vec::new();
        let mut file = archive.by_name(&format!("{name}.npy")).unwrap();
        file.read_to_end(&mut bytes).unwrap();
        assert!(bytes.starts_with(b"\x93NUMPY\x01\x00"));
        let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        assert!(start.is_multiple_of(64) && bytes[start - 1] == b'\n');
        let header = String::from_utf8(bytes[10..start].to_vec()).unwrap();
        (header, bytes[start..].to_vec())
    };
    assert!(
        array("variants")
            .0
            .contains("'<U8', 'fortran_order': False, 'shape': (3,)")
    );
    let store = Store::open(&dir.path("a.db")).unwrap();
    for split in Split::ALL {
        let name = split.name();
        let (header, images) = array(&format!("{name}_images"));
        let shape = format!("({}, 3, 3, 32, 32)", store.meta().images_of(split));
        assert!(
            header.contains("'|u1'") && header.contains(&shape),
            "{header}"
        );
        let (_, labels) = array(&format!("{name}_labels"));
        let (_, ids) = array(&format!("{name}_ids"));
        let mut files = BTreeMap::new();
        let tar = fs::File::open(dir.path(&format!("shards/{name}-000000.tar"))).unwrap();
        for entry in tar::Archive::new(tar).entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            files.insert(path, bytes);
        }
        let mut row = 0;
        store
            .for_each(split, |image, samples| {
                assert_eq!(labels[row], image.label);
                assert_eq!(ids[8 * row..][..8], image.id.to_le_bytes());
                let class = files[&format!("{:06}.cls", image.id)].clone();
                assert_eq!(class, image.label.to_string().into_bytes());
                let adversarial = samples.iter().map(|sample| &sample.pixels);
                let variants = ["clean", "gaussian", "fgsm"];
                for (i, pixels) in std::iter::once(&image.pixels)
                    .chain(adversarial)
                    .enumerate()
                {
                    assert!(images[(3 * row + i) * 3072..][..3072] == **pixels);
                    let variant = variants[i];
                    let png = &files[&format!("{:06}.{variant}.png", image.id)];
                    assert!(planar(png) == **pixels);
                    let class = store.meta().class_name(image.label);
                    let path = format!("png/{name}/{variant}/{class}/{:06}.png", image.id);
                    assert!(&fs::read(dir.path(&path)).unwrap() == png);
                }
                row += 1;
                Ok(())
            })
            .unwrap();
        assert_eq!(files.len(), 4 * row);
    }
}

#[test]
fn a_croissant_card_has_the_sha256_and_content_hash_of_the_store() {
    let dir = dir();
    assert_success(&dir.run(&["card", "a.db"]));
    let text = fs::read_to_string(dir.path("a.croissant.json")).unwrap();
    let card: Value = serde_json::from_str(&text).unwrap();
    let file = &card["distribution"][0];
    let bytes = fs::read(dir.path("a.db")).unwrap();
    let hash = sha2::Sha256::digest(&bytes);
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(file["sha256"], hash);
    assert_eq!(file["contentSize"], format!("{} B", bytes.len()));
    let markdown = fs::read_to_string(dir.path("a.md")).unwrap();
    assert!(markdown.contains(&dir.hash("a.db")));
    assert!(markdown.contains("| `fgsm` | `{"), "{markdown}");
    dir.assert_refused(&mut dir.command(&["card", "a.db"]), 2, &["exists"]);
}

#[test]
fn pack_and_unpack_restore_the_content_hash() {
    let dir = dir();
    assert_success(&dir.run(&["pack", "a.db", "--out", "a.pack"]));
    assert_success(&dir.run(&["unpack", "a.pack", "--out", "b.db"]));
    assert_eq!(dir.hash("a.db"), dir.hash("b.db"));
    let again = &mut dir.command(&["unpack", "a.pack", "--out", "b.db"]);
    dir.assert_refused(again, 2, &["b.db: exists", "--force"]);
    let wrong = &mut dir.command(&["unpack", "a.db", "--out", "c.db"]);
    dir.assert_refused(wrong, 3, &["a.db: found other bytes", "packed store"]);
}

#[test]
fn an_export_that_cannot_be_written_is_one_error_line_and_leaves_no_file() {
    let dir = dir();
    assert_success(&dir.run(&["pack", "a.db", "--out", "a.pack"]));
    for (args, out) in [
        (&["pack", "a.db"][..], "b"),
        (&["unpack", "a.pack"], "b.db"),
        (&["export", "a.db", "--format", "npz"], "b.npz"),
        (&["export", "a.db", "--format", "webdataset"], "b"),
        (&["preview", "a.db"], "b.png"),
        (&["card", "a.db", "--force"], ""),
    ] {
        let program = env!("CARGO_BIN_EXE_generator");
        let mut limited = Command::new("bash");
        // Files of 1 KiB at most.
        limited.args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$@\"", "-", program]);
        limited.args(args).current_dir(dir.path(""));
        if !out.is_empty() {
            limited.args(["--out", out]);
        }
        dir.assert_refused(&mut limited, 1, &["error: "]);
    }
}

#[test]
fn a_preview_of_a_store_without_test_images_is_refused() {
    let dir = TestDir::new();
    let mut build = dir.build("a.db", &["--attacks", "fgsm", "--limit", "10"]);
    assert_success(&build.output().unwrap());
    let preview = &mut dir.command(&["preview", "a.db", "--out", "a.png"]);
    dir.assert_refused(preview, 3, &["a.db: no test images to show"]);
}

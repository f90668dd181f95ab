//! Damaged files give errors, never wrong images and never a panic.

use rusqlite::Connection;

use super::*;
use crate::{InMemorySplit, info, verify};

fn tables(path: &Path) -> base::Result<[InMemorySplit; 3]> {
    let store = Store::open(path)?;
    let [train, val, test] = Split::ALL.map(|split| store.load(split));
    Ok([train?, val?, test?])
}

#[test]
fn a_flipped_byte_is_detected_or_makes_no_difference() {
    let (folder, path) = new_store();
    build(&path);
    let good = std::fs::read(&path).unwrap();
    let tables_of_good = tables(&path).unwrap();
    let rows_of_good = everything(&path).unwrap();
    let spec = spec();
    let damaged = folder.path().join("damaged.db");
    let mut stream = Stream::new(11, "flips", &[]);
    let mut detected = 0;
    // Half of them in the first pages, where header, schema, meta and model are; and only in bytes
    // that are not zero, since most of those pages is free.
    let used: Vec<usize> = (0..good.len()).filter(|&at| good[at] != 0).collect();
    let first = used.partition_point(|&at| at < 4 * 16_384);
    for flip in 0..400 {
        let range = if flip % 2 == 0 { used.len() } else { first };
        let (at, bits) = (used[stream.below(range)], 1 + stream.below(255) as u8);
        let mut bytes = good.clone();
        bytes[at] ^= bits;
        std::fs::write(&damaged, &bytes).unwrap();
        let place = format!("byte {at} changed by {bits:#x}");
        let _ = info(&damaged);
        let _ = Writer::create_or_resume(&damaged, &spec, "cpu");
        std::fs::write(&damaged, &bytes).unwrap();
        if let Ok(tables) = tables(&damaged) {
            assert!(tables == tables_of_good, "{place}: wrong tables");
        }
        if let Ok(rows) = everything(&damaged) {
            assert!(rows == rows_of_good, "{place}: wrong rows");
        }
        match verify(&damaged) {
            Err(error) => {
                detected += 1;
                assert_eq!(error.exit_code(), 3, "{place}: {error}");
                assert!(!error.to_string().contains('\n'), "{place}: {error}");
            }
            Ok(_) => {
                let model = Store::open(&damaged).unwrap().model().unwrap();
                assert!(model == spec.model, "{place}: wrong model");
            }
        }
    }
    assert!(detected > 300, "only {detected} of 400 detected");
}

#[test]
fn a_truncated_store_is_refused_and_left_alone() {
    let (_folder, path) = new_store();
    build(&path);
    let good = std::fs::read(&path).unwrap();
    let page = 16_384;
    for length in [
        1,
        99,
        100,
        4096,
        page - 1,
        page,
        good.len() / 2,
        good.len() - page,
        good.len() - 1,
    ] {
        std::fs::write(&path, &good[..length]).unwrap();
        let writer = Writer::create_or_resume(&path, &spec(), "cpu").unwrap_err();
        for error in [
            writer,
            tables(&path).unwrap_err(),
            verify(&path).unwrap_err(),
        ] {
            assert_eq!(error.exit_code(), 3, "{length} bytes: {error}");
        }
        assert!(
            std::fs::read(&path).unwrap() == good[..length],
            "{length} bytes"
        );
    }
}

#[test]
fn verify_names_the_row_or_the_claim_that_is_wrong() {
    let (_folder, path) = new_store();
    build(&path);
    let good = std::fs::read(&path).unwrap();
    for (change, message) in [
        (
            "UPDATE image SET pixels = zeroblob(3072) WHERE id = 5",
            "image 5: found pixels of CRC",
        ),
        (
            "UPDATE sample SET crc32 = crc32 - 1 WHERE image_id = 4 AND attack_id = 2",
            "sample (image 4, attack 2): found pixels of CRC",
        ),
        (
            "UPDATE sample SET l2 = l2 + 0.001 WHERE image_id = 6 AND attack_id = 3",
            "sample (image 6, attack 3): found l2",
        ),
        (
            "DELETE FROM sample WHERE image_id = 13 AND attack_id = 5",
            "image 13: no sample of cw",
        ),
        (
            "DELETE FROM sample WHERE image_id = 2; DELETE FROM image WHERE id = 2",
            "images in train: found 11, expected 12",
        ),
        (
            "UPDATE image SET label = (label + 1) % 10 WHERE id = 16",
            "hash of test",
        ),
        (
            "UPDATE attack SET params = '{}' WHERE id = 6",
            "content hash",
        ),
        ("UPDATE model SET weights = x'00'", "sha256 of its weights"),
        (
            "UPDATE meta SET value = 'many' WHERE key = 'seed'",
            "meta, seed: found 'many'",
        ),
        (
            "DELETE FROM meta WHERE key = 'licence'",
            "meta, licence: found nothing",
        ),
        (
            "PRAGMA foreign_keys = OFF; UPDATE attack SET model_id = 9 WHERE id = 1",
            "foreign_key_check",
        ),
        (
            "PRAGMA foreign_keys = OFF; UPDATE sample SET image_id = 99 WHERE image_id = 3; \
             DELETE FROM image WHERE id = 3",
            "images in train: found 11, expected 12",
        ),
        (
            "PRAGMA foreign_keys = OFF; INSERT INTO sample SELECT 99, attack_id, pixels, crc32, \
             pred, pred_float, l2, linf, steps FROM sample WHERE image_id = 3",
            "foreign_key_check(sample): found sample 109 image 1",
        ),
        (
            "PRAGMA ignore_check_constraints = ON; UPDATE image SET clean_pred = 11 WHERE id = 1",
            "image 1: found class 11",
        ),
        (
            "PRAGMA ignore_check_constraints = ON; UPDATE sample SET pixels = x'01' WHERE image_id = 0",
            "found 1 bytes of pixels",
        ),
        (
            "UPDATE meta SET value = '9223372036854775807' WHERE key = 'images_train'",
            "images in train",
        ),
    ] {
        std::fs::write(&path, &good).unwrap();
        Connection::open(&path)
            .unwrap()
            .execute_batch(change)
            .unwrap();
        let error = verify(&path).unwrap_err();
        assert_eq!(error.exit_code(), 3, "{change}");
        assert!(error.to_string().contains(message), "{change}: {error}");
    }
}

#[test]
fn a_claimed_image_count_allocates_no_memory() {
    let (_folder, path) = new_store();
    build(&path);
    let claim = "UPDATE meta SET value = '99999999999' WHERE key = 'images_val'";
    Connection::open(&path)
        .unwrap()
        .execute_batch(claim)
        .unwrap();
    let error = Store::open(&path).unwrap().load(Split::Val).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("images in val: found 99999999999"),
        "{error}"
    );
}

#[test]
fn a_schema_format_that_sqlite_does_not_support_is_bad_data() {
    let (_folder, path) = new_store();
    build(&path);
    let good = std::fs::read(&path).unwrap();
    // The schema's format number, 1 to 4.
    let mut bytes = good.clone();
    bytes[47] = 10;
    std::fs::write(&path, bytes).unwrap();
    let error = Store::open(&path).unwrap_err();
    assert_eq!(error.exit_code(), 3, "{error}");
}

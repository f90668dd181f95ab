//! Refusals: other specifications, foreign files, other schemas, rows against the constraints; no file is changed.

use rusqlite::Connection;

use super::*;
use crate::{info, verify};
use base::Error;

#[test]
fn resuming_with_another_spec_is_refused_with_both_values() {
    let (_folder, path) = new_store();
    drop(open_writer(&path));
    type Change = fn(&mut BuildSpec);
    let changes: [(Change, &str); 9] = [
        (|i| i.seed = 8, "seed: the file has 7, asked for 8"),
        (
            |i| (i.preset, i.attacks[0].params) = ("standard".into(), "{}".into()),
            "preset: the file has paper, asked for standard",
        ),
        (
            |i| i.limit = Some(50),
            "limit: the file has none, asked for 50",
        ),
        (
            |i| i.shard = "1/4".into(),
            "shard: the file has 1/1, asked for 1/4",
        ),
        (
            |i| i.source_hash = "00".repeat(32),
            "source hash: the file has 5f5f",
        ),
        (
            |i| i.model = ModelRow::new("baseline", r#"{"width":64}"#, vec![1, 2, 3]),
            "asked for 039058c6f2c0cb492c533b0a4d14ef77cc0f78abccced5287d84a1a2011cfb81",
        ),
        (
            |i| i.attacks[1].params = "{}".into(),
            r#"fgsm: the file has {"strength":0.2}, asked for {}"#,
        ),
        (|i| i.attacks.truncate(5), "nst (6), asked for gaussian (1)"),
        (
            |i| i.images[2] = 4,
            "images in test: the file has 3, asked for 4",
        ),
    ];
    for (change, message) in changes {
        let mut other = spec();
        change(&mut other);
        let error = Writer::create_or_resume(&path, &other, "cpu").unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let text = error.to_string();
        assert!(text.contains(message), "{message} in {text}");
        assert!(text.contains("choose another --out or --force"), "{text}");
    }
    open_writer(&path);
}

#[test]
fn names_of_files_classes_and_presets_do_not_change_the_content_hash() {
    let (_folder, path) = new_store();
    let hash = build(&path);
    let (_folder, other) = new_store();
    let mut spec = spec();
    spec.dataset = "bob".into();
    spec.preset = "standard".into();
    spec.classes[3] = "tiger".into();
    let mut writer = Writer::create_or_resume(&other, &spec, "cpu").unwrap();
    writer.insert_images(&images()).unwrap();
    drop(writer);
    // Resumed under the names of the first, which change nothing.
    assert_eq!(build(&other), hash);
    assert_eq!(info(&other).unwrap().meta.spec.classes[3], "tiger");
}

#[test]
fn query_planner_statistics_of_a_viewer_keep_the_schema_valid() {
    let (_folder, path) = new_store();
    let hash = build(&path);
    let viewer = Connection::open(&path).unwrap();
    viewer.execute_batch("ANALYZE").unwrap();
    let tables = "SELECT count(*) FROM sqlite_schema WHERE name GLOB 'sqlite_stat*'";
    let statistics: u32 = viewer.query_row(tables, [], |row| row.get(0)).unwrap();
    assert!(statistics > 0);
    drop(viewer);
    assert_eq!(verify(&path).unwrap().content_hash, hash);
}

#[test]
fn a_folder_or_a_named_pipe_is_no_store_and_is_not_waited_for() {
    let (folder, path) = new_store();
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    for (path, message) in [
        (folder.path(), "found a folder"),
        (&path, "found a named pipe"),
    ] {
        for error in [Store::open(path).unwrap_err(), verify(path).unwrap_err()] {
            assert_eq!(error.exit_code(), 3);
            assert!(error.to_string().contains(message), "{error}");
        }
    }
}

#[test]
fn invalid_class_names_are_refused() {
    let (_folder, path) = new_store();
    build(&path);
    let good = std::fs::read(&path).unwrap();
    for names in ["[]", "no JSON", r#"["../../etc"]"#] {
        std::fs::write(&path, &good).unwrap();
        let change = "UPDATE meta SET value = ? WHERE key = 'classes'";
        Connection::open(&path)
            .unwrap()
            .execute(change, [names])
            .unwrap();
        let error = Store::open(&path).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        assert!(
            error.to_string().contains("meta, classes: found"),
            "{error}"
        );
    }
}

#[test]
fn two_builds_cannot_write_to_one_file() {
    let (_folder, path) = new_store();
    let first = open_writer(&path);
    let second = Writer::create_or_resume(&path, &spec(), "cpu").unwrap_err();
    assert!(
        matches!(&second, Error::Usage(m) if m.contains("another program is writing to it")),
        "{second}"
    );
    assert_eq!(Writer::remove(&path).unwrap_err().exit_code(), 2);
    drop(first);
    open_writer(&path);
}

#[test]
fn a_file_that_is_no_store_is_refused_and_left_alone() {
    let (_folder, path) = new_store();
    let other = Connection::open(&path).unwrap();
    other
        .execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1);")
        .unwrap();
    drop(other);
    let database = std::fs::read(&path).unwrap();
    let text = b"These are the notes of somebody else. ".repeat(10);
    for (bytes, message) in [
        (database, "another program's database"),
        (text, "no SQLite file"),
    ] {
        std::fs::write(&path, &bytes).unwrap();
        for error in [
            Writer::create_or_resume(&path, &spec(), "cpu").unwrap_err(),
            Writer::remove(&path).unwrap_err(),
            Store::open_any(&path).unwrap_err(),
            verify(&path).unwrap_err(),
            info(&path).unwrap_err(),
        ] {
            assert_eq!(error.exit_code(), 3);
            assert!(error.to_string().contains(message), "{error}");
        }
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
}

#[test]
fn a_missing_store_is_reported_as_missing() {
    let (folder, path) = new_store();
    assert_eq!(Store::open(&path).unwrap_err().exit_code(), 3);
    assert!(!path.exists());
    let nowhere = folder.path().join("no/such/store.db");
    let error = Writer::create_or_resume(&nowhere, &spec(), "cpu").unwrap_err();
    assert!(
        matches!(&error, Error::Usage(m) if m.contains("folder does not exist")),
        "{error}"
    );
}

#[test]
fn other_schemas_are_refused_before_anything_is_read() {
    let (_folder, path) = new_store();
    build(&path);
    let good = std::fs::read(&path).unwrap();
    for (change, message) in [
        (
            "PRAGMA user_version = 1",
            "found schema version 1, expected schema version 2, the one this program knows: build the store again",
        ),
        (
            "PRAGMA user_version = 3",
            "found schema version 3, expected schema version 2, the one this program knows: use a newer program",
        ),
        ("PRAGMA journal_mode = WAL", "write-ahead log"),
        (
            "CREATE TABLE more (x)",
            "schema: table 'more' is not in schema.sql",
        ),
        (
            "CREATE INDEX by_label ON image (label)",
            "schema: index 'by_label' is not in schema.sql",
        ),
        (
            "DROP VIEW attack_summary",
            "view 'attack_summary' is missing",
        ),
        (
            "DROP VIEW attack_summary; CREATE VIEW attack_summary AS SELECT 1",
            "view 'attack_summary' is not as schema.sql has it",
        ),
        (
            "CREATE TRIGGER evil AFTER INSERT ON image BEGIN DELETE FROM sample; END",
            "trigger 'evil'",
        ),
    ] {
        std::fs::write(&path, &good).unwrap();
        Connection::open(&path)
            .unwrap()
            .execute_batch(change)
            .unwrap();
        let writer = Writer::create_or_resume(&path, &spec(), "cpu").unwrap_err();
        for error in [
            writer,
            Store::open(&path).unwrap_err(),
            verify(&path).unwrap_err(),
        ] {
            assert_eq!(error.exit_code(), 3);
            assert!(error.to_string().contains(message), "{change}: {error}");
        }
    }
}

#[test]
fn rows_that_break_a_constraint_are_refused_with_their_whole_transaction() {
    let (_folder, path) = new_store();
    let mut writer = open_writer(&path);
    let mut rows = images();
    rows[3].label = 10;
    assert_eq!(writer.insert_images(&rows).unwrap_err().exit_code(), 3);
    rows[3] = ImageRow {
        pixels: vec![0; 3071].into(),
        ..images()[3].clone()
    };
    assert_eq!(writer.insert_images(&rows).unwrap_err().exit_code(), 3);
    assert_eq!(writer.images_present().unwrap(), 0);
    // Before its image, twice, with a distance of NaN.
    assert_eq!(
        writer
            .insert_samples(&samples_of(1))
            .unwrap_err()
            .exit_code(),
        3
    );
    writer.insert_images(&images()).unwrap();
    writer.insert_samples(&samples_of(1)).unwrap();
    assert_eq!(
        writer
            .insert_samples(&samples_of(1)[..1])
            .unwrap_err()
            .exit_code(),
        3
    );
    let mut sample = samples_of(2)[0].clone();
    sample.l2 = f64::NAN;
    assert_eq!(writer.insert_samples(&[sample]).unwrap_err().exit_code(), 3);
}

#[test]
fn labels_and_predictions_are_checked_against_the_classes_of_the_store() {
    for count in [2, 100, 256] {
        let (_folder, path) = new_store();
        let mut spec = spec();
        spec.classes = (0..count).map(|class| format!("class{class}")).collect();
        let mut writer = Writer::create_or_resume(&path, &spec, "cpu").unwrap();
        let mut rows = images();
        for row in &mut rows {
            (row.label, row.clean_pred) = ((count - 1) as u8, 0);
        }
        let Ok(beyond) = u8::try_from(count) else {
            writer.insert_images(&rows).unwrap();
            continue;
        };
        rows[5].clean_pred = beyond;
        let error = writer.insert_images(&rows).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        let text = error.to_string();
        let message = format!("image 5: found class {count}, expected 0 to {}", count - 1);
        assert!(text.contains(&message), "{text}");
        rows[5].clean_pred = 1;
        writer.insert_images(&rows).unwrap();
        let mut samples = samples_of(1);
        for sample in &mut samples {
            (sample.pred, sample.pred_float) = (1, 0);
        }
        samples[7].pred_float = beyond;
        let error = writer.insert_samples(&samples).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        assert!(
            error.to_string().contains("image 7: found class"),
            "{error}"
        );
    }
}

#[test]
fn a_removed_store_leaves_nothing_behind() {
    let (folder, path) = new_store();
    build(&path);
    std::fs::write(crate::file::StoreFile::as_given(&path).journal(), "stale").unwrap();
    Writer::remove(&path).unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    Writer::remove(&path).unwrap();
    build(&path);
}

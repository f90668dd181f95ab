//! What is refused, how, and that refused files stay as they are.

use rusqlite::Connection;

use super::*;
use crate::{info, verify};
use base::Error;

#[test]
fn another_identity_is_refused_with_both_values() {
    let (_folder, path) = place();
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
    for (change, said) in changes {
        let mut other = identity();
        change(&mut other);
        let error = Writer::create_or_resume(&path, &other, "cpu").unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let message = error.to_string();
        assert!(message.contains(said), "{said} in {message}");
        assert!(
            message.contains("choose another --out or --force"),
            "{message}"
        );
    }
    open_writer(&path);
}

#[test]
fn names_of_files_classes_and_presets_are_no_content() {
    let (_folder, path) = place();
    let hash = build(&path);
    let (_folder, other) = place();
    let mut identity = identity();
    identity.dataset = "bob".into();
    identity.preset = "standard".into();
    identity.classes[3] = "tiger".into();
    let mut writer = Writer::create_or_resume(&other, &identity, "cpu").unwrap();
    writer.insert_images(&images()).unwrap();
    drop(writer);
    // Resumed under the names of the first, which change nothing.
    assert_eq!(build(&other), hash);
    assert_eq!(info(&other).unwrap().meta.classes[3], "tiger");
}

#[test]
fn what_a_viewer_adds_for_its_queries_makes_no_other_schema() {
    let (_folder, path) = place();
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
    let (folder, path) = place();
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    for (path, said) in [
        (folder.path(), "found a folder"),
        (&path, "found a named pipe"),
    ] {
        for error in [Store::open(path).unwrap_err(), verify(path).unwrap_err()] {
            assert_eq!(error.exit_code(), 3);
            assert!(error.to_string().contains(said), "{error}");
        }
    }
}

#[test]
fn class_names_that_are_none_are_refused() {
    let (_folder, path) = place();
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
    let (_folder, path) = place();
    let first = open_writer(&path);
    let second = Writer::create_or_resume(&path, &identity(), "cpu").unwrap_err();
    assert!(
        matches!(&second, Error::Usage(m) if m.contains("another program is writing to it")),
        "{second}"
    );
    assert_eq!(Writer::remove(&path).unwrap_err().exit_code(), 2);
    drop(first);
    open_writer(&path);
}

#[test]
fn what_is_no_store_is_refused_and_left_alone() {
    let (_folder, path) = place();
    let other = Connection::open(&path).unwrap();
    other
        .execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1);")
        .unwrap();
    drop(other);
    let database = std::fs::read(&path).unwrap();
    let text = b"These are the notes of somebody else. ".repeat(10);
    for (bytes, said) in [
        (database, "another program's database"),
        (text, "no SQLite file"),
    ] {
        std::fs::write(&path, &bytes).unwrap();
        for error in [
            Writer::create_or_resume(&path, &identity(), "cpu").unwrap_err(),
            Writer::remove(&path).unwrap_err(),
            Store::open_any(&path).unwrap_err(),
            verify(&path).unwrap_err(),
            info(&path).unwrap_err(),
        ] {
            assert_eq!(error.exit_code(), 3);
            assert!(error.to_string().contains(said), "{error}");
        }
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
}

#[test]
fn a_missing_store_is_said_to_be_missing() {
    let (folder, path) = place();
    assert_eq!(Store::open(&path).unwrap_err().exit_code(), 3);
    assert!(!path.exists());
    let nowhere = folder.path().join("no/such/store.db");
    let error = Writer::create_or_resume(&nowhere, &identity(), "cpu").unwrap_err();
    assert!(
        matches!(&error, Error::Usage(m) if m.contains("folder does not exist")),
        "{error}"
    );
}

#[test]
fn other_schemas_are_refused_before_anything_is_read() {
    let (_folder, path) = place();
    build(&path);
    let good = std::fs::read(&path).unwrap();
    for (change, said) in [
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
            "schema: found table 'more', expected nothing of that name",
        ),
        (
            "CREATE INDEX by_label ON image (label)",
            "schema: found index 'by_label', expected nothing of that name",
        ),
        ("DROP VIEW attack_summary", "found no view 'attack_summary'"),
        (
            "DROP VIEW attack_summary; CREATE VIEW attack_summary AS SELECT 1",
            "found another view 'attack_summary', expected view 'attack_summary', as schema.sql has it",
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
        let writer = Writer::create_or_resume(&path, &identity(), "cpu").unwrap_err();
        for error in [
            writer,
            Store::open(&path).unwrap_err(),
            verify(&path).unwrap_err(),
        ] {
            assert_eq!(error.exit_code(), 3);
            assert!(error.to_string().contains(said), "{change}: {error}");
        }
    }
}

#[test]
fn rows_that_break_the_contract_are_refused_and_their_batch_with_them() {
    let (_folder, path) = place();
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
    // Before its image, twice, with a distance that is none.
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
fn a_removed_store_leaves_nothing_behind() {
    let (folder, path) = place();
    build(&path);
    std::fs::write(crate::header::journal(&path), "stale").unwrap();
    Writer::remove(&path).unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    Writer::remove(&path).unwrap();
    build(&path);
}

//! Refusals of damaged stores and of files that are no store.

use std::fs;

use data::Split;
use store::Store;

use crate::common::TestDir;
use library_tests::{RunningProgram, assert_success, edit};

fn built() -> TestDir {
    let dir = TestDir::new();
    assert_success(&dir.build("a.db", &[]).output().unwrap());
    dir
}

/// What every command says of `a.db` as it is.
fn all_refuse(dir: &TestDir, words: &[&str]) {
    let words = [words, &["a.db"]].concat();
    for args in [
        &["verify", "a.db"][..],
        &["info", "a.db"],
        &["preview", "a.db", "--out", "a.png"],
    ] {
        dir.assert_refused(&mut dir.command(args), 3, &words);
    }
    dir.assert_refused(&mut dir.build("a.db", &[]), 3, &words);
}

#[test]
fn files_that_are_no_store_of_this_schema_version_are_refused_by_all_commands() {
    let dir = built();
    let db = dir.path("a.db");
    let intact = fs::read(&db).unwrap();

    edit(&db, |bytes| bytes[68..72].copy_from_slice(b"GPKG"));
    let another = "found another program's database, expected an adversarial store";
    all_refuse(&dir, &[another]);
    let force = &mut dir.build("a.db", &["--force"]);
    dir.assert_refused(force, 3, &[another]);

    fs::write(&db, &intact).unwrap();
    edit(&db, |bytes| bytes[63] += 1);
    all_refuse(&dir, &["found schema version 3, expected schema version 2"]);

    fs::write(&db, b"not a database at all").unwrap();
    all_refuse(
        &dir,
        &["found no SQLite file, expected an adversarial store"],
    );
    let force = &mut dir.build("a.db", &["--force"]);
    dir.assert_refused(force, 3, &["found no SQLite file"]);

    let pages = intact.len() / 16_384;
    for length in [pages / 2 * 16_384, intact.len() - 1] {
        fs::write(&db, &intact[..length]).unwrap();
        all_refuse(&dir, &["found ", "expected "]);
    }
}

#[test]
fn verify_finds_one_flipped_bit_in_an_image() {
    let dir = built();
    let db = dir.path("a.db");
    let intact = fs::read(&db).unwrap();
    let table = Store::open(&db).unwrap().load(Split::Test).unwrap();
    for variant in [0, 3] {
        let blob = table.variant(4, variant);
        let mut places = intact.windows(blob.len()).enumerate();
        let (place, _) = places.find(|(_, window)| *window == blob).unwrap();
        fs::write(&db, &intact).unwrap();
        edit(&db, |bytes| bytes[place + 1000] ^= 1);
        let image = format!("image {}", table.ids[4]);
        let expected = ["a.db", &image, "found ", "expected "];
        let verify = &mut dir.command(&["verify", "a.db"]);
        dir.assert_refused(verify, 3, &expected);
        let preview = &mut dir.command(&["preview", "a.db", "--out", "a.png"]);
        dir.assert_refused(preview, 3, &expected);
    }
}

#[test]
fn an_unfinished_store_is_no_input_and_is_resumed_only_with_the_same_settings() {
    let dir = TestDir::new();
    let mut build = RunningProgram::start(dir.build("a.db", &["--batch-size", "1"]));
    build.wait_for_line("building");
    build.signal("TERM");
    assert_eq!(build.wait().status.code(), Some(75));
    for args in [
        &["verify", "a.db"][..],
        &["preview", "a.db", "--out", "a.png"],
    ] {
        dir.assert_refused(&mut dir.command(args), 3, &["a.db", "expected "]);
    }
    for (more, words) in [
        (["--seed", "1"], ["seed: the file has 0", "asked for 1"]),
        (
            ["--preset", "standard"],
            ["preset: the file has paper", "asked for standard"],
        ),
        (
            ["--attacks", "cw"],
            [
                "attacks: the file has gaussian (1), fgsm (2)",
                "asked for cw (5)",
            ],
        ),
    ] {
        dir.assert_refused(&mut dir.build("a.db", &more), 2, &words);
    }
}

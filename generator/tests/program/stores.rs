//! Stores that are none, or damaged ones: every command refuses them and leaves them as they are.

use std::fs;

use data::Split;
use store::Store;

use crate::{
    common::Workshop,
    programs::{Running, done, edit},
};

fn built() -> Workshop {
    let workshop = Workshop::new();
    done(&workshop.build("a.db", &[]).output().unwrap());
    workshop
}

/// What every command says of `a.db` as it is.
fn all_refuse(workshop: &Workshop, words: &[&str]) {
    let words = [words, &["a.db"]].concat();
    for args in [
        &["verify", "a.db"][..],
        &["info", "a.db"],
        &["preview", "a.db", "--out", "a.png"],
    ] {
        workshop.refuses(&mut workshop.command(args), 3, &words);
    }
    workshop.refuses(&mut workshop.build("a.db", &[]), 3, &words);
}

#[test]
fn what_is_no_store_of_this_version_is_refused_by_all_commands() {
    let workshop = built();
    let db = workshop.path("a.db");
    let intact = fs::read(&db).unwrap();

    edit(&db, |bytes| bytes[68..72].copy_from_slice(b"GPKG"));
    let another = "found another program's database, expected an adversarial store";
    all_refuse(&workshop, &[another]);
    let force = &mut workshop.build("a.db", &["--force"]);
    workshop.refuses(force, 3, &[another]);

    fs::write(&db, &intact).unwrap();
    edit(&db, |bytes| bytes[63] += 1);
    all_refuse(
        &workshop,
        &["found schema version 3, expected schema version 2"],
    );

    fs::write(&db, b"not a database at all").unwrap();
    all_refuse(
        &workshop,
        &["found no SQLite file, expected an adversarial store"],
    );
    let force = &mut workshop.build("a.db", &["--force"]);
    workshop.refuses(force, 3, &["found no SQLite file"]);

    let pages = intact.len() / 16_384;
    for length in [pages / 2 * 16_384, intact.len() - 1] {
        fs::write(&db, &intact[..length]).unwrap();
        all_refuse(&workshop, &["found ", "expected "]);
    }
}

#[test]
fn one_flipped_bit_in_a_picture_is_found() {
    let workshop = built();
    let db = workshop.path("a.db");
    let intact = fs::read(&db).unwrap();
    let table = Store::open(&db).unwrap().load(Split::Test).unwrap();
    for variant in [0, 3] {
        let blob = table.variant(4, variant);
        let mut places = intact.windows(blob.len()).enumerate();
        let (place, _) = places.find(|(_, window)| *window == blob).unwrap();
        fs::write(&db, &intact).unwrap();
        edit(&db, |bytes| bytes[place + 1000] ^= 1);
        let image = format!("image {}", table.ids[4]);
        let said = ["a.db", &image, "found ", "expected "];
        let verify = &mut workshop.command(&["verify", "a.db"]);
        workshop.refuses(verify, 3, &said);
        let preview = &mut workshop.command(&["preview", "a.db", "--out", "a.png"]);
        workshop.refuses(preview, 3, &said);
    }
}

#[test]
fn an_unfinished_store_is_no_input_and_goes_on_with_its_own_settings_only() {
    let workshop = Workshop::new();
    let mut build = Running::start(workshop.build("a.db", &["--batch-size", "1"]));
    build.until("building");
    build.signal("TERM");
    assert_eq!(build.end().status.code(), Some(75));
    for args in [
        &["verify", "a.db"][..],
        &["preview", "a.db", "--out", "a.png"],
    ] {
        workshop.refuses(&mut workshop.command(args), 3, &["a.db", "expected "]);
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
        workshop.refuses(&mut workshop.build("a.db", &more), 2, &words);
    }
}

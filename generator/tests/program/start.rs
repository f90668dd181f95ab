//! `generator build --start`: attacks that begin at another store's samples.

use base::{Result, files};
use data::Split;
use store::{InMemorySplit, Store};

use crate::common::TestDir;
use library_tests::assert_success;

/// Two small steps of PGD from the clean image, so that a start shows.
const CONFIG: &str = "[pgd]\neps = 0.03137254901960784\nstep = 0.00784313725490196\nsteps = 2\nrandom_start = false\n";

fn dir() -> Result<TestDir> {
    let dir = TestDir::new();
    files::write_whole(&dir.path("pgd.toml"), CONFIG.as_bytes())?;
    Ok(dir)
}

fn build(dir: &TestDir, out: &str, more: &[&str]) -> std::process::Command {
    let mut command = dir.command(&["build", "--data", "data", "--model", "model.safetensors"]);
    command.args([
        "--attacks-config",
        "pgd.toml",
        "--device",
        "cpu",
        "--out",
        out,
    ]);
    if !more.contains(&"--attacks") {
        command.args(["--attacks", "pgd"]);
    }
    command.args(more);
    command
}

/// The largest distance of the samples from the clean images, and how many samples the surrogate gets right.
fn strength(dir: &TestDir, db: &str) -> (f32, usize) {
    let table: InMemorySplit = Store::open(&dir.path(db))
        .unwrap()
        .load(Split::Train)
        .unwrap();
    let correct = table
        .preds
        .iter()
        .zip(&table.labels)
        .filter(|(pred, label)| pred == label);
    (
        table.linf.iter().copied().fold(0.0, f32::max),
        correct.count(),
    )
}

#[test]
fn attacks_begin_at_the_samples_of_start_and_stay_in_the_ball_around_the_clean_images() {
    let dir = dir().unwrap();
    assert_success(&build(&dir, "a.db", &[]).output().unwrap());
    assert_success(&build(&dir, "b.db", &["--start", "a.db"]).output().unwrap());
    assert_success(&build(&dir, "c.db", &["--start", "b.db"]).output().unwrap());
    let [a, b, c] = ["a.db", "b.db", "c.db"].map(|db| strength(&dir, db));
    // Two steps of two levels from the clean image, then two more; then the radius of eight is reached.
    let levels = |linf: f32| (linf * 255.0).round() as u32;
    assert_eq!([a, b, c].map(|(linf, _)| levels(linf)), [4, 8, 8]);
    assert!(a.1 >= b.1 && b.1 >= c.1, "{a:?} {b:?} {c:?}");
    let params = dir.info("b.db").to_string();
    assert!(params.contains(&dir.hash("a.db")), "{params}");
}

#[test]
fn a_start_is_part_of_the_build_and_must_have_the_same_images_and_attack() {
    let dir = dir().unwrap();
    assert_success(&build(&dir, "a.db", &[]).output().unwrap());
    let whole = ["--start", "a.db", "--batch-size", "7"];
    assert_success(&build(&dir, "b.db", &whole).output().unwrap());
    assert_success(
        &build(&dir, "again.db", &["--start", "a.db"])
            .output()
            .unwrap(),
    );
    assert_eq!(dir.hash("b.db"), dir.hash("again.db"));
    let expected = ["parameters of pgd", "--force"];
    dir.assert_refused(&mut build(&dir, "b.db", &[]), 2, &expected);
    let other = &mut build(&dir, "c.db", &["--start", "a.db", "--seed", "3"]);
    dir.assert_refused(other, 3, &["a.db: seed: found 0, expected 3"]);
    let none = &mut build(&dir, "c.db", &["--start", "a.db", "--attacks", "fgsm,cw"]);
    dir.assert_refused(none, 2, &["--start", "bim and pgd"]);
    let part = ["--shard", "1/2"];
    assert_success(&build(&dir, "part.db", &part).output().unwrap());
    let part = &mut build(&dir, "c.db", &["--start", "part.db"]);
    dir.assert_refused(part, 3, &["part.db: images of ", "merge its shards first"]);
    let same = &mut build(&dir, "a.db", &["--start", "a.db"]);
    dir.assert_refused(same, 2, &["a.db"]);

    assert_success(
        &build(&dir, "two.db", &["--attacks", "gaussian,fgsm"])
            .output()
            .unwrap(),
    );
    let lacking = &mut build(&dir, "c.db", &["--start", "two.db"]);
    dir.assert_refused(
        lacking,
        3,
        &[
            "two.db: attacks",
            "gaussian, fgsm",
            "pgd, or one attack alone",
        ],
    );
}

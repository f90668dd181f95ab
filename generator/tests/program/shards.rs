//! Sharded builds: merges, killed merges, and files that are no shards of one build.

use std::{
    fs,
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use base::random::Stream;

use crate::common::TestDir;
use library_tests::assert_success;

/// Two attacks, of which one needs the net.
const QUICK: [&str; 2] = ["--attacks", "gaussian,fgsm"];

fn build(dir: &TestDir, out: &str, more: &[&str]) -> Command {
    dir.build(out, &[&QUICK[..], more].concat())
}

fn merge(dir: &TestDir, shards: &[&str]) -> Command {
    let mut command = dir.command(&["merge", "--out", "merged.db"]);
    command.args(shards);
    command
}

#[test]
fn merged_shards_have_the_content_hash_of_an_undivided_build() {
    let dir = TestDir::new();
    assert_success(&build(&dir, "whole.db", &[]).output().unwrap());
    for shard in 1..=3 {
        let out = format!("{shard}.db");
        assert_success(
            &build(&dir, &out, &["--shard", &format!("{shard}/4")])
                .output()
                .unwrap(),
        );
    }
    // The last by a Slurm array that counts from 10 in twos.
    let mut slurm = build(&dir, "4.db", &["--shard", "slurm"]);
    for (name, value) in [("ID", "16"), ("COUNT", "4"), ("MIN", "10"), ("STEP", "2")] {
        slurm.env(format!("SLURM_ARRAY_TASK_{name}"), value);
    }
    assert_success(&slurm.output().unwrap());
    assert_eq!(dir.info("4.db")["meta"]["shard"], "4/4");

    let unset = &mut build(&dir, "5.db", &["--shard", "slurm"]);
    dir.assert_refused(unset, 2, &["--shard slurm: SLURM_ARRAY_TASK_ID"]);

    let shards = ["3.db", "1.db", "4.db", "2.db"];
    assert_success(&merge(&dir, &shards).output().unwrap());
    assert_eq!(dir.hash("merged.db"), dir.hash("whole.db"));
    let merged = dir.info("merged.db");
    assert_eq!(merged["meta"]["shard"], "1/1");
    assert_eq!(
        merged["meta"]["images"],
        dir.info("whole.db")["meta"]["images"]
    );

    let before = fs::read(dir.path("merged.db")).unwrap();
    let again = merge(&dir, &shards).output().unwrap();
    assert_success(&again);
    assert!(String::from_utf8_lossy(&again.stderr).contains("already complete"));
    assert_eq!(fs::read(dir.path("merged.db")).unwrap(), before);
}

#[test]
fn killed_merges_resume_to_the_same_content_hash() {
    let dir = TestDir::new();
    assert_success(&build(&dir, "whole.db", &[]).output().unwrap());
    for shard in ["1/2", "2/2"] {
        let out = format!("{}.db", &shard[..1]);
        assert_success(&build(&dir, &out, &["--shard", shard]).output().unwrap());
    }
    let started = Instant::now();
    assert_success(&merge(&dir, &["1.db", "2.db"]).output().unwrap());
    let whole = started.elapsed().max(Duration::from_millis(1));
    fs::remove_file(dir.path("merged.db")).unwrap();
    let mut moments = Stream::new(5, "moments", &[]);
    for _ in 0..10 {
        let mut child = merge(&dir, &["1.db", "2.db"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        sleep(whole.mul_f64(moments.between(0.0, 0.9)));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_success(&merge(&dir, &["1.db", "2.db"]).output().unwrap());
    assert_eq!(dir.hash("merged.db"), dir.hash("whole.db"));
    assert!(!dir.path("merged.db-journal").exists());
}

#[test]
fn merge_refuses_files_that_are_no_shards_of_one_build() {
    let dir = TestDir::new();
    for (out, more) in [
        ("1.db", ["--shard", "1/3", "--seed", "0"]),
        ("2.db", ["--shard", "2/3", "--seed", "0"]),
        ("3.db", ["--shard", "3/3", "--seed", "0"]),
        ("seed.db", ["--shard", "3/3", "--seed", "1"]),
        ("half.db", ["--shard", "1/2", "--seed", "0"]),
    ] {
        assert_success(&build(&dir, out, &more).output().unwrap());
    }
    let assert_refused = |shards: &[&str], words: &[&str]| {
        dir.assert_refused(&mut merge(&dir, shards), 2, words);
    };
    assert_refused(&["1.db", "3.db"], &["shards are missing: 2/3"]);
    assert_refused(
        &["1.db", "2.db", "1.db", "3.db"],
        &["1.db and 1.db are both shard 1/3"],
    );
    assert_refused(
        &["1.db", "2.db", "seed.db"],
        &["1.db and seed.db are no parts of one build: seed: 0 and 1"],
    );
    assert_refused(
        &["1.db", "2.db", "3.db", "half.db"],
        &["1.db is shard 1/3, half.db is shard 1/2"],
    );
    dir.assert_refused(&mut merge(&dir, &["gone.db"]), 3, &["gone.db"]);
    let mut onto = dir.command(&["merge", "--out", "1.db", "1.db", "2.db", "3.db"]);
    dir.assert_refused(&mut onto, 2, &["1.db: is the input 1.db"]);
}

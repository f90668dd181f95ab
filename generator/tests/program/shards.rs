//! Builds in parts: shards are merged, in any order and however often the merge is killed, to what an
//! undivided build gives; what are no shards of one build is refused by name.

use std::{
    fs,
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use base::random::Stream;

use crate::{common::Workshop, programs::done};

/// Two attacks, of which one needs the net.
const QUICK: [&str; 2] = ["--attacks", "gaussian,fgsm"];

fn build(workshop: &Workshop, out: &str, more: &[&str]) -> Command {
    workshop.build(out, &[&QUICK[..], more].concat())
}

fn merge(workshop: &Workshop, shards: &[&str]) -> Command {
    let mut command = workshop.command(&["merge", "--out", "merged.db"]);
    command.args(shards);
    command
}

#[test]
fn shards_merge_to_the_content_of_an_undivided_build() {
    let workshop = Workshop::new();
    done(&build(&workshop, "whole.db", &[]).output().unwrap());
    for shard in 1..=3 {
        let out = format!("{shard}.db");
        done(
            &build(&workshop, &out, &["--shard", &format!("{shard}/4")])
                .output()
                .unwrap(),
        );
    }
    // The last by a Slurm array that counts from 10 in twos.
    let mut slurm = build(&workshop, "4.db", &["--shard", "slurm"]);
    for (name, value) in [("ID", "16"), ("COUNT", "4"), ("MIN", "10"), ("STEP", "2")] {
        slurm.env(format!("SLURM_ARRAY_TASK_{name}"), value);
    }
    done(&slurm.output().unwrap());
    assert_eq!(workshop.info("4.db")["meta"]["shard"], "4/4");

    let unset = &mut build(&workshop, "5.db", &["--shard", "slurm"]);
    workshop.refuses(unset, 2, &["--shard slurm: SLURM_ARRAY_TASK_ID"]);

    let shards = ["3.db", "1.db", "4.db", "2.db"];
    done(&merge(&workshop, &shards).output().unwrap());
    assert_eq!(workshop.hash("merged.db"), workshop.hash("whole.db"));
    let merged = workshop.info("merged.db");
    assert_eq!(merged["meta"]["shard"], "1/1");
    assert_eq!(
        merged["meta"]["images"],
        workshop.info("whole.db")["meta"]["images"]
    );

    let before = fs::read(workshop.path("merged.db")).unwrap();
    let again = merge(&workshop, &shards).output().unwrap();
    done(&again);
    assert!(String::from_utf8_lossy(&again.stderr).contains("already complete"));
    assert_eq!(fs::read(workshop.path("merged.db")).unwrap(), before);
}

#[test]
fn killed_merges_go_on_and_end_with_the_same_content() {
    let workshop = Workshop::new();
    done(&build(&workshop, "whole.db", &[]).output().unwrap());
    for shard in ["1/2", "2/2"] {
        let out = format!("{}.db", &shard[..1]);
        done(
            &build(&workshop, &out, &["--shard", shard])
                .output()
                .unwrap(),
        );
    }
    let started = Instant::now();
    done(&merge(&workshop, &["1.db", "2.db"]).output().unwrap());
    let whole = started.elapsed().max(Duration::from_millis(1));
    fs::remove_file(workshop.path("merged.db")).unwrap();
    let mut moments = Stream::new(5, "moments", &[]);
    for _ in 0..10 {
        let mut child = merge(&workshop, &["1.db", "2.db"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        sleep(whole.mul_f64(moments.between(0.0, 0.9)));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    done(&merge(&workshop, &["1.db", "2.db"]).output().unwrap());
    assert_eq!(workshop.hash("merged.db"), workshop.hash("whole.db"));
    assert!(!workshop.path("merged.db-journal").exists());
}

#[test]
fn what_are_no_shards_of_one_build_is_refused_by_name() {
    let workshop = Workshop::new();
    for (out, more) in [
        ("1.db", ["--shard", "1/3", "--seed", "0"]),
        ("2.db", ["--shard", "2/3", "--seed", "0"]),
        ("3.db", ["--shard", "3/3", "--seed", "0"]),
        ("seed.db", ["--shard", "3/3", "--seed", "1"]),
        ("half.db", ["--shard", "1/2", "--seed", "0"]),
    ] {
        done(&build(&workshop, out, &more).output().unwrap());
    }
    let refuses = |shards: &[&str], words: &[&str]| {
        workshop.refuses(&mut merge(&workshop, shards), 2, words);
    };
    refuses(&["1.db", "3.db"], &["shards are missing: 2/3"]);
    refuses(
        &["1.db", "2.db", "1.db", "3.db"],
        &["1.db and 1.db are both shard 1/3"],
    );
    refuses(
        &["1.db", "2.db", "seed.db"],
        &["1.db and seed.db are no parts of one build: seed: 0 and 1"],
    );
    refuses(
        &["1.db", "2.db", "3.db", "half.db"],
        &["1.db is shard 1/3, half.db is shard 1/2"],
    );
    workshop.refuses(&mut merge(&workshop, &["gone.db"]), 3, &["gone.db"]);
    let mut onto = workshop.command(&["merge", "--out", "1.db", "1.db", "2.db", "3.db"]);
    workshop.refuses(&mut onto, 2, &["1.db: is the input 1.db"]);
}

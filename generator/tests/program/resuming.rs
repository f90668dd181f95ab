//! Builds that are stopped in every way: the same command goes on, and what comes out is what an
//! undisturbed build gives.

use std::{
    fs,
    process::{Command, Stdio},
    thread::sleep,
    time::Instant,
};

use base::random::Stream;

use crate::{
    common::Workshop,
    programs::{Running, done, failed, files},
};

#[test]
fn killed_builds_end_with_the_content_of_an_undisturbed_one() {
    let workshop = Workshop::new();
    let build = |out| workshop.build(out, &["--batch-size", "4"]);
    let started = Instant::now();
    done(&build("whole.db").output().unwrap());
    let whole = started.elapsed();

    let mut moments = Stream::new(3, "moments", &[]);
    let mut killed = 0;
    for _ in 0..6 {
        let mut child = build("a.db").stderr(Stdio::null()).spawn().unwrap();
        sleep(whole.mul_f64(moments.between(0.02, 0.15)));
        child.kill().unwrap();
        killed += u32::from(!child.wait().unwrap().success());
        // What is left is a store, unless the build had not yet begun one.
        let info = workshop.run(&["info", "a.db"]);
        if info.status.code() == Some(3) {
            let said = String::from_utf8_lossy(&info.stderr).into_owned();
            let early = said.contains("nothing in it yet") || said.contains("cannot open");
            assert!(early, "{said}");
        } else {
            done(&info);
        }
    }
    assert!(killed >= 3, "only {killed} builds were killed at work");
    done(&build("a.db").output().unwrap());
    assert_eq!(workshop.hash("a.db"), workshop.hash("whole.db"));
    let beside = |name: &str| workshop.path(name).exists();
    assert!(!beside("a.db-journal") && !beside("a.db.lock"));

    let started = Instant::now();
    let again = build("a.db").output().unwrap();
    done(&again);
    assert!(String::from_utf8_lossy(&again.stderr).contains("a.db: already complete"));
    assert!(started.elapsed() < whole);
}

#[test]
fn batches_and_threads_change_nothing() {
    let workshop = Workshop::new();
    done(&workshop.build("a.db", &[]).output().unwrap());
    let mut other = workshop.build("b.db", &["--batch-size", "7"]);
    done(&other.env("RAYON_NUM_THREADS", "1").output().unwrap());
    assert_eq!(workshop.hash("a.db"), workshop.hash("b.db"));
    done(&workshop.build("c.db", &["--seed", "1"]).output().unwrap());
    assert_ne!(workshop.hash("a.db"), workshop.hash("c.db"));
}

#[test]
fn a_build_that_is_asked_to_stop_says_how_to_go_on() {
    let workshop = Workshop::new();
    done(&workshop.build("whole.db", &[]).output().unwrap());
    for signal in ["TERM", "INT", "USR1"] {
        let mut build = Running::start(workshop.build("a.db", &["--batch-size", "1"]));
        build.until("building");
        build.signal(signal);
        failed(&build.end(), 75, &["the same command goes on from here"]);
        assert_eq!(workshop.info("a.db")["meta"]["complete"], false);
    }
    done(&workshop.build("a.db", &[]).output().unwrap());
    assert_eq!(workshop.hash("a.db"), workshop.hash("whole.db"));
}

#[test]
fn a_second_build_of_the_same_store_is_refused_while_the_first_is_at_work() {
    let workshop = Workshop::new();
    let mut first = Running::start(workshop.build("a.db", &["--batch-size", "1"]));
    first.until("building");
    first.signal("STOP");
    let said = ["a.db: another program is writing to it"];
    workshop.refuses(&mut workshop.build("a.db", &[]), 2, &said);
    workshop.refuses(&mut workshop.build("a.db", &["--force"]), 2, &said);
    first.signal("CONT");
    done(&first.end());
    workshop.hash("a.db");
}

#[test]
fn a_file_that_may_not_grow_leaves_a_store_that_goes_on() {
    let workshop = Workshop::new();
    let script = "trap '' XFSZ; ulimit -f 500; exec \"$@\"";
    let mut limited = Command::new("bash");
    limited.args(["-c", script, "bash"]);
    let output = inside(limited, &workshop, "a.db").output().unwrap();
    failed(&output, 1, &["a.db"]);
    goes_on(&workshop);
}

#[test]
fn a_full_disk_leaves_a_store_that_goes_on() {
    let workshop = Workshop::new();
    // The disk is seen by the commands in the script alone, and goes with them.
    let script =
        "mount -t tmpfs -o size=700k none disk && { \"$@\"; code=$?; cp disk/* .; exit $code; }";
    fs::create_dir(workshop.path("disk")).unwrap();
    let mut small = Command::new("unshare");
    small.args(["-m", "sh", "-c", script, "sh"]);
    small.current_dir(workshop.path("."));
    let mut trial = Command::new("unshare");
    trial
        .args(["-m", "mount", "-t", "tmpfs", "none"])
        .arg(workshop.path("disk"));
    if !trial.output().is_ok_and(|output| output.status.success()) {
        println!("skipped: no disk can be mounted here");
        return;
    }
    let output = inside(small, &workshop, "disk/a.db").output().unwrap();
    failed(
        &output,
        1,
        &["a.db: the disk is full", "run the same command again"],
    );
    goes_on(&workshop);
}

/// A build into `out` as the last arguments of a wrapper.
fn inside(mut wrapper: Command, workshop: &Workshop, out: &str) -> Command {
    let build = workshop.build(out, &["--batch-size", "4"]);
    wrapper.current_dir(workshop.path("."));
    wrapper.arg(build.get_program()).args(build.get_args());
    wrapper
}

/// Part of the images is in `a.db`, nothing lies beside it, and the build can be finished.
fn goes_on(workshop: &Workshop) {
    let left = files(&workshop.path("."));
    let names = left.keys().filter_map(|path| path.file_name()?.to_str());
    let stores: Vec<&str> = names.filter(|name| name.starts_with("a.db")).collect();
    assert_eq!(stores, ["a.db"]);
    let info = workshop.info("a.db");
    assert_eq!(info["meta"]["complete"], false);
    assert!(!info["summary"].as_array().unwrap().is_empty());
    done(&workshop.build("a.db", &[]).output().unwrap());
    done(&workshop.build("whole.db", &[]).output().unwrap());
    assert_eq!(workshop.hash("a.db"), workshop.hash("whole.db"));
}

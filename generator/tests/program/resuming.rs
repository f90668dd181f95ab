//! Resuming: builds that are killed, stopped or out of space end with the content hash of an undisturbed one.

use std::{
    fs,
    process::{Command, Stdio},
    thread::sleep,
    time::Instant,
};

use base::random::Stream;

use crate::common::TestDir;
use library_tests::{RunningProgram, assert_error, assert_success, files};

#[test]
fn killed_builds_resume_to_the_content_hash_of_an_uninterrupted_one() {
    let dir = TestDir::new();
    let build = |out| dir.build(out, &["--batch-size", "4"]);
    let started = Instant::now();
    assert_success(&build("whole.db").output().unwrap());
    let whole = started.elapsed();

    let mut moments = Stream::new(3, "moments", &[]);
    let mut killed = 0;
    for _ in 0..6 {
        let mut child = build("a.db").stderr(Stdio::null()).spawn().unwrap();
        sleep(whole.mul_f64(moments.between(0.02, 0.15)));
        child.kill().unwrap();
        killed += u32::from(!child.wait().unwrap().success());
        // What is left is a store, unless the build had not yet begun one.
        let info = dir.run(&["info", "a.db"]);
        if info.status.code() == Some(3) {
            let stderr = String::from_utf8_lossy(&info.stderr).into_owned();
            let early = stderr.contains("nothing in it yet") || stderr.contains("cannot open");
            assert!(early, "{stderr}");
        } else {
            assert_success(&info);
        }
    }
    assert!(killed >= 3, "only {killed} builds were killed at work");
    assert_success(&build("a.db").output().unwrap());
    assert_eq!(dir.hash("a.db"), dir.hash("whole.db"));
    let beside = |name: &str| dir.path(name).exists();
    assert!(!beside("a.db-journal") && !beside("a.db.lock"));

    let started = Instant::now();
    let again = build("a.db").output().unwrap();
    assert_success(&again);
    assert!(String::from_utf8_lossy(&again.stderr).contains("a.db: already complete"));
    assert!(started.elapsed() < whole);
}

#[test]
fn batch_size_and_threads_do_not_change_the_content_hash() {
    let dir = TestDir::new();
    assert_success(&dir.build("a.db", &[]).output().unwrap());
    let mut other = dir.build("b.db", &["--batch-size", "7"]);
    assert_success(&other.env("RAYON_NUM_THREADS", "1").output().unwrap());
    assert_eq!(dir.hash("a.db"), dir.hash("b.db"));
    assert_success(&dir.build("c.db", &["--seed", "1"]).output().unwrap());
    assert_ne!(dir.hash("a.db"), dir.hash("c.db"));
}

#[test]
fn a_build_stopped_by_sigterm_exits_with_75_and_tells_how_to_resume() {
    let dir = TestDir::new();
    assert_success(&dir.build("whole.db", &[]).output().unwrap());
    for signal in ["TERM", "INT", "USR1"] {
        let mut build = RunningProgram::start(dir.build("a.db", &["--batch-size", "1"]));
        build.wait_for_line("building");
        build.signal(signal);
        assert_error(&build.wait(), 75, &["the same command goes on from here"]);
        assert_eq!(dir.info("a.db")["meta"]["complete"], false);
    }
    assert_success(&dir.build("a.db", &[]).output().unwrap());
    assert_eq!(dir.hash("a.db"), dir.hash("whole.db"));
}

#[test]
fn a_locked_store_refuses_a_second_build() {
    let dir = TestDir::new();
    let mut first = RunningProgram::start(dir.build("a.db", &["--batch-size", "1"]));
    first.wait_for_line("building");
    first.stop();
    let expected = ["a.db: another program is writing to it"];
    dir.assert_refused(&mut dir.build("a.db", &[]), 2, &expected);
    dir.assert_refused(&mut dir.build("a.db", &["--force"]), 2, &expected);
    first.signal("CONT");
    assert_success(&first.wait());
    dir.hash("a.db");
}

#[test]
fn a_file_size_limit_leaves_a_store_that_can_be_resumed() {
    let dir = TestDir::new();
    let script = "trap '' XFSZ; ulimit -f 500; exec \"$@\"";
    let mut limited = Command::new("bash");
    limited.args(["-c", script, "bash"]);
    let output = inside(limited, &dir, "a.db").output().unwrap();
    assert_error(&output, 1, &["a.db"]);
    goes_on(&dir);
}

#[test]
fn a_full_disk_leaves_a_store_that_can_be_resumed() {
    let dir = TestDir::new();
    // The disk is seen by the commands in the script alone, and goes with them.
    let script =
        "mount -t tmpfs -o size=700k none disk && { \"$@\"; code=$?; cp disk/* .; exit $code; }";
    fs::create_dir(dir.path("disk")).unwrap();
    let mut small = Command::new("unshare");
    small.args(["-m", "sh", "-c", script, "sh"]);
    small.current_dir(dir.path("."));
    let mut trial = Command::new("unshare");
    trial
        .args(["-m", "mount", "-t", "tmpfs", "none"])
        .arg(dir.path("disk"));
    if !trial.output().is_ok_and(|output| output.status.success()) {
        println!("skipped: no disk can be mounted here");
        return;
    }
    let output = inside(small, &dir, "disk/a.db").output().unwrap();
    assert_error(
        &output,
        1,
        &["a.db: the disk is full", "run the same command again"],
    );
    goes_on(&dir);
}

/// A build into `out` as the last arguments of a wrapper.
fn inside(mut wrapper: Command, dir: &TestDir, out: &str) -> Command {
    let build = dir.build(out, &["--batch-size", "4"]);
    wrapper.current_dir(dir.path("."));
    wrapper.arg(build.get_program()).args(build.get_args());
    wrapper
}

/// Part of the images is in `a.db`, nothing lies beside it, and the build can be finished.
fn goes_on(dir: &TestDir) {
    let left = files(&dir.path("."));
    let names = left.keys().filter_map(|path| path.file_name()?.to_str());
    let stores: Vec<&str> = names.filter(|name| name.starts_with("a.db")).collect();
    assert_eq!(stores, ["a.db"]);
    let info = dir.info("a.db");
    assert_eq!(info["meta"]["complete"], false);
    assert!(!info["summary"].as_array().unwrap().is_empty());
    assert_success(&dir.build("a.db", &[]).output().unwrap());
    assert_success(&dir.build("whole.db", &[]).output().unwrap());
    assert_eq!(dir.hash("a.db"), dir.hash("whole.db"));
}

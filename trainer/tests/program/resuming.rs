//! Resuming of stopped, killed, damaged, diverged and finished runs: the result equals that of an uninterrupted run.

use std::{
    fs,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use crate::{
    common::TestDir,
    runs::{assert_same_run, metrics, progress_count},
};
use library_tests::{RunningProgram, assert_error, assert_success, edit, files};

/// The command of a training into a folder.
pub type TrainCommand = fn(&TestDir, &str) -> Command;
const PRETRAIN: TrainCommand = |dir, out| dir.pretrain(out, &["--batch-size", "2"]);
const JOINT: TrainCommand = |dir, out| dir.joint(out, &["--batch-size", "4"]);

/// An uninterrupted run in `whole`, and how long it took.
fn whole(dir: &TestDir, train: TrainCommand) -> Duration {
    let started = Instant::now();
    assert_success(&train(dir, "whole").output().unwrap());
    started.elapsed()
}

/// Stops a training several times and resumes it.
pub fn stopped_and_resumed(train: TrainCommand) {
    let dir = TestDir::new();
    let time = whole(&dir, train);
    let run = dir.path("run");
    let mut within_an_epoch = 0;
    for line in ["epoch 1/3", "resuming after", "resuming after"] {
        let mut training = RunningProgram::start(train(&dir, "run"));
        training.wait_for_line(line);
        sleep(time / 20);
        training.signal("TERM");
        assert_error(
            &training.wait(),
            75,
            &["the same command goes on from here"],
        );
        within_an_epoch += u32::from(progress_count(&run, "steps") > 0);
    }
    assert!(within_an_epoch > 0, "no stop fell into an epoch");
    assert_success(&train(&dir, "run").output().unwrap());
    assert_same_run(&run, &dir.path("whole"));
}

fn killed_and_resumed(train: TrainCommand) {
    let dir = TestDir::new();
    whole(&dir, train);
    // An epoch is logged before its metrics and its checkpoint are written.
    for (line, milliseconds) in [("", 40), ("epoch 1/3", 0), ("", 60), ("epoch 2/3", 4)] {
        let mut training = RunningProgram::start(train(&dir, "run"));
        training.wait_for_line(line);
        sleep(Duration::from_millis(milliseconds));
        training.signal("KILL");
        let end = training.wait().status;
        assert!(!end.success() && end.code().is_none(), "{end}");
    }
    assert_success(&train(&dir, "run").output().unwrap());
    assert_same_run(&dir.path("run"), &dir.path("whole"));
}

#[test]
fn a_baseline_resumed_after_sigterm_equals_an_uninterrupted_one() {
    stopped_and_resumed(PRETRAIN);
}

#[test]
fn a_joint_run_resumed_after_sigterm_equals_an_uninterrupted_one() {
    stopped_and_resumed(JOINT);
}

#[test]
fn a_baseline_resumed_after_sigkill_equals_an_uninterrupted_one() {
    killed_and_resumed(PRETRAIN);
}

#[test]
fn a_joint_run_resumed_after_sigkill_equals_an_uninterrupted_one() {
    killed_and_resumed(JOINT);
}

#[test]
fn a_run_resumes_from_an_earlier_checkpoint_where_later_ones_are_damaged_or_lost() {
    let dir = TestDir::new();
    whole(&dir, JOINT);
    let run = dir.path("run");
    let again = || {
        let output = JOINT(&dir, "run").output().unwrap();
        assert_success(&output);
        assert_same_run(&run, &dir.path("whole"));
        String::from_utf8(output.stderr).unwrap()
    };
    again();
    edit(&run.join("last/net.safetensors"), |bytes| {
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
    });
    let stderr = again();
    assert!(
        stderr.contains("warning: skipped a damaged checkpoint: "),
        "{stderr}"
    );
    assert!(
        stderr.contains("last/net.safetensors: found hash"),
        "{stderr}"
    );
    assert!(stderr.contains("resuming after epoch 2 "), "{stderr}");

    // As after a kill between the first epoch's metrics and its checkpoint.
    fs::remove_dir_all(run.join("last")).unwrap();
    fs::remove_dir_all(run.join("last.before")).unwrap();
    edit(&run.join("metrics.jsonl"), |text| {
        let first = text.iter().position(|byte| *byte == b'\n').unwrap();
        text.truncate(first + 1);
    });
    fs::remove_file(run.join("report.json")).unwrap();
    let stderr = again();
    assert!(!stderr.contains("resuming"), "{stderr}");

    for folder in ["last", "last.before"] {
        fs::write(run.join(folder).join("state.json"), "{}").unwrap();
    }
    let before = files(&run);
    let output = JOINT(&dir, "run").output().unwrap();
    assert_error(&output, 3, &["last.before/state.json: found missing field"]);
    assert!(files(&run) == before);
}

#[test]
fn a_run_resumes_despite_repeated_and_blank_lines_of_metrics() {
    let dir = TestDir::new();
    whole(&dir, JOINT);
    let run = dir.path("run");
    let mut training = RunningProgram::start(JOINT(&dir, "run"));
    training.wait_for_line("epoch 2/3");
    training.signal("TERM");
    training.wait();
    edit(&run.join("metrics.jsonl"), |text| {
        let doubled = text.clone();
        text.extend(b"\n");
        text.extend(doubled);
    });
    let output = JOINT(&dir, "run").output().unwrap();
    assert_success(&output);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("metrics.jsonl:3: "), "{stderr}");
    assert_eq!(metrics(&run), metrics(&dir.path("whole")));
}

#[test]
fn a_finished_run_without_checkpoints_stays_finished() {
    let dir = TestDir::new();
    for train in [PRETRAIN, JOINT] {
        whole(&dir, train);
        let run = dir.path("whole");
        for folder in ["last", "last.before"] {
            fs::remove_dir_all(run.join(folder)).unwrap();
        }
        let before = files(&run);
        let output = train(&dir, "whole").output().unwrap();
        assert_success(&output);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains("whole: all 3 epochs are done"), "{stderr}");
        assert!(files(&run) == before);

        // An unfinished one is an error, and starts anew only with --force.
        edit(&run.join("metrics.jsonl"), |text| {
            let lines = text.split_inclusive(|byte| *byte == b'\n');
            *text = lines.take(2).collect::<Vec<_>>().concat();
        });
        let words = [
            "whole: found a damaged run",
            "2 epochs are in metrics.jsonl",
            "--force",
        ];
        dir.assert_refused(&mut train(&dir, "whole"), 3, &words);
        assert_success(&train(&dir, "whole").arg("--force").output().unwrap());
        fs::remove_dir_all(run).unwrap();
    }
}

#[test]
fn a_run_resumes_without_its_best_model() {
    let dir = TestDir::new();
    let run = dir.path("run");
    let mut training = RunningProgram::start(JOINT(&dir, "run"));
    training.wait_for_line("epoch 1/3");
    training.signal("TERM");
    training.wait();
    fs::remove_file(run.join("best.safetensors")).unwrap();
    let output = JOINT(&dir, "run").output().unwrap();
    assert_success(&output);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("best.safetensors is missing; the best model of"),
        "{stderr}"
    );
    assert!(run.join("best.safetensors").exists() && run.join("report.json").exists());

    fs::rename(run.join("best.safetensors"), dir.path("moved")).unwrap();
    let words = [
        "run: found a damaged run",
        "best.safetensors is missing",
        "put it back",
    ];
    dir.assert_refused(&mut JOINT(&dir, "run"), 3, &words);
    fs::rename(dir.path("moved"), run.join("best.safetensors")).unwrap();
    assert_success(&JOINT(&dir, "run").output().unwrap());
}

#[test]
fn a_run_folder_locked_by_another_training_is_refused() {
    let dir = TestDir::new();
    whole(&dir, PRETRAIN);
    let mut first = RunningProgram::start(PRETRAIN(&dir, "run"));
    first.wait_for_line("epoch 1/3");
    first.stop();
    let stderr = ["run: another program is writing to it"];
    dir.assert_refused(&mut PRETRAIN(&dir, "run"), 2, &stderr);
    dir.assert_refused(PRETRAIN(&dir, "run").arg("--force"), 2, &stderr);
    first.signal("CONT");
    assert_success(&first.wait());
    assert_same_run(&dir.path("run"), &dir.path("whole"));
}

#[test]
fn a_finished_run_is_not_changed_by_resuming() {
    let dir = TestDir::new();
    for train in [PRETRAIN, JOINT] {
        let folder = dir.path("whole");
        whole(&dir, train);
        let before = files(&folder);
        let output = train(&dir, "whole").output().unwrap();
        assert_success(&output);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains("whole: all 3 epochs are done"), "{stderr}");
        assert!(files(&folder) == before);
        fs::remove_dir_all(folder).unwrap();
    }
}

#[test]
fn a_run_that_diverges_keeps_its_checkpoint_and_resumes_with_a_lower_learning_rate() {
    let dir = TestDir::new();
    let run = dir.path("run");
    let mut training = RunningProgram::start(JOINT(&dir, "run"));
    training.wait_for_line("epoch 1/3");
    training.signal("TERM");
    assert_error(&training.wait(), 75, &[]);
    // From here on with a rate that diverges.
    edit(&run.join("config.toml"), |text| {
        let wild = String::from_utf8(text.clone()).unwrap();
        *text = wild.replace("\nlr = 0.01\n", "\nlr = 1e30\n").into_bytes();
    });
    let before = files(&run);
    let wild = ["--batch-size", "4", "--lr", "1e30"];
    let output = dir.joint("run", &wild).output().unwrap();
    let advice = [
        "run: epoch ",
        "step ",
        "loss is ",
        "a smaller --lr (now 1",
        "from the last checkpoint",
    ];
    assert_error(&output, 5, &advice);
    let mut after = files(&run);
    assert!(after.remove(&run.join("diverged.json")).is_some());
    assert!(after == before);

    // The same settings are a warning; a lower rate resumes.
    let output = dir.joint("run", &wild).output().unwrap();
    assert_error(&output, 5, &[]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("which will happen again"), "{stderr}");
    let other = &mut dir.joint("run", &["--batch-size", "4", "--seed", "9", "--lr", "0.01"]);
    dir.assert_refused(other, 2, &["seed = 0, now it is 9"]);
    let mild = ["--batch-size", "4", "--lr", "0.01"];
    let output = dir.joint("run", &mild).output().unwrap();
    assert_success(&output);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("going on with the new learning rate"),
        "{stderr}"
    );
    assert!(stderr.contains("resuming after epoch 1 "), "{stderr}");
    assert!(!run.join("diverged.json").exists());
    // And from then on the rate is fixed again.
    dir.assert_refused(&mut dir.joint("run", &wild), 2, &["optimizer.lr = 0.01"]);

    // Epochs of one step: the loss is finite, the logits after the step are not.
    for batch in ["8", "1000"] {
        let wild = ["--lr", "1e30", "--batch-size", batch];
        let output = dir.pretrain(batch, &wild).output().unwrap();
        assert_error(&output, 5, &["epoch 1, ", "step ", "is ", "--lr"]);
        let left = files(&dir.path(batch));
        assert_eq!(
            left.len(),
            2,
            "the settings and the mark: {:?}",
            left.keys()
        );
        // Also without a checkpoint.
        let mild = ["--lr", "0.001", "--batch-size", batch];
        assert_success(&dir.pretrain(batch, &mild).output().unwrap());
    }
}

#[test]
fn a_run_resumes_after_a_full_disk() {
    let dir = TestDir::new();
    let disk = dir.path("disk");
    fs::create_dir(&disk).unwrap();
    let mut trial = Command::new("unshare");
    trial
        .args(["-m", "mount", "-t", "tmpfs", "none"])
        .arg(&disk);
    if !trial.output().is_ok_and(|output| output.status.success()) {
        println!("skipped: no disk can be mounted here");
        return;
    }
    // The disk is mounted in the namespace of the script alone.
    let script =
        "mount -t tmpfs -o size=600k none disk && { \"$@\"; code=$?; cp -r disk/* .; exit $code; }";
    let training = PRETRAIN(&dir, "disk/run");
    let mut small = Command::new("unshare");
    small
        .args(["-m", "sh", "-c", script, "sh"])
        .current_dir(dir.path("."));
    small.arg(training.get_program()).args(training.get_args());
    assert_error(
        &small.output().unwrap(),
        1,
        &["disk/run/", "No space left on device"],
    );

    let run = dir.path("run");
    assert!((1..3).contains(&progress_count(&run, "epochs")));
    assert_success(&PRETRAIN(&dir, "run").output().unwrap());
    whole(&dir, PRETRAIN);
    assert_same_run(&run, &dir.path("whole"));
}

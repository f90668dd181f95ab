//! Runs that are stopped in every way: the same command goes on, and what comes out is what an
//! uninterrupted run gives.

use std::{
    fs,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use crate::{
    common::Workshop,
    programs::{Running, done, edit, failed, files},
    runs::{assert_same, done_so_far, metrics},
};

/// A kind of training, into a folder.
type Train = fn(&Workshop, &str) -> Command;
const PRETRAIN: Train = |workshop, out| workshop.pretrain(out, &["--batch-size", "2"]);
const JOINT: Train = |workshop, out| workshop.joint(out, &["--batch-size", "4"]);

/// An uninterrupted run in `whole`, and how long it took.
fn whole(workshop: &Workshop, train: Train) -> Duration {
    let started = Instant::now();
    done(&train(workshop, "whole").output().unwrap());
    started.elapsed()
}

fn stopped_and_resumed(train: Train) {
    let workshop = Workshop::new();
    let time = whole(&workshop, train);
    let run = workshop.path("run");
    let mut within_an_epoch = 0;
    for line in ["epoch 1/3", "resuming after", "resuming after"] {
        let mut training = Running::start(train(&workshop, "run"));
        training.until(line);
        sleep(time / 20);
        training.signal("TERM");
        failed(&training.end(), 75, &["the same command goes on from here"]);
        within_an_epoch += u32::from(done_so_far(&run, "steps") > 0);
    }
    assert!(within_an_epoch > 0, "no stop fell into an epoch");
    done(&train(&workshop, "run").output().unwrap());
    assert_same(&run, &workshop.path("whole"));
}

fn killed_and_resumed(train: Train) {
    let workshop = Workshop::new();
    whole(&workshop, train);
    // An epoch's line comes before its metrics and its checkpoint are written.
    for (line, milliseconds) in [("", 40), ("epoch 1/3", 0), ("", 60), ("epoch 2/3", 4)] {
        let mut training = Running::start(train(&workshop, "run"));
        training.until(line);
        sleep(Duration::from_millis(milliseconds));
        training.signal("KILL");
        let end = training.end().status;
        assert!(!end.success() && end.code().is_none(), "{end}");
    }
    done(&train(&workshop, "run").output().unwrap());
    assert_same(&workshop.path("run"), &workshop.path("whole"));
}

#[test]
fn a_stopped_baseline_ends_as_an_uninterrupted_one() {
    stopped_and_resumed(PRETRAIN);
}

#[test]
fn a_stopped_joint_run_ends_as_an_uninterrupted_one() {
    stopped_and_resumed(JOINT);
}

#[test]
fn a_killed_baseline_ends_as_an_uninterrupted_one() {
    killed_and_resumed(PRETRAIN);
}

#[test]
fn a_killed_joint_run_ends_as_an_uninterrupted_one() {
    killed_and_resumed(JOINT);
}

#[test]
fn damaged_and_lost_checkpoints_only_cost_time() {
    let workshop = Workshop::new();
    whole(&workshop, JOINT);
    let run = workshop.path("run");
    let again = || {
        let output = JOINT(&workshop, "run").output().unwrap();
        done(&output);
        assert_same(&run, &workshop.path("whole"));
        String::from_utf8(output.stderr).unwrap()
    };
    again();
    edit(&run.join("last/net.safetensors"), |bytes| {
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
    });
    let said = again();
    assert!(
        said.contains("warning: passed over a damaged checkpoint: "),
        "{said}"
    );
    assert!(said.contains("last/net.safetensors: found hash"), "{said}");
    assert!(said.contains("resuming after epoch 2 "), "{said}");

    // A kill between the first epoch's metrics and its checkpoint leaves the metrics alone.
    fs::remove_dir_all(run.join("last")).unwrap();
    fs::remove_dir_all(run.join("last.before")).unwrap();
    edit(&run.join("metrics.jsonl"), |text| {
        let first = text.iter().position(|byte| *byte == b'\n').unwrap();
        text.truncate(first + 1);
    });
    fs::remove_file(run.join("report.json")).unwrap();
    let said = again();
    assert!(!said.contains("resuming"), "{said}");

    for folder in ["last", "last.before"] {
        fs::write(run.join(folder).join("state.json"), "{}").unwrap();
    }
    let before = files(&run);
    let output = JOINT(&workshop, "run").output().unwrap();
    failed(&output, 3, &["last.before/state.json: found missing field"]);
    assert!(files(&run) == before);
}

#[test]
fn doubled_and_blank_lines_of_metrics_never_outvote_a_checkpoint() {
    let workshop = Workshop::new();
    whole(&workshop, JOINT);
    let run = workshop.path("run");
    let mut training = Running::start(JOINT(&workshop, "run"));
    training.until("epoch 2/3");
    training.signal("TERM");
    training.end();
    edit(&run.join("metrics.jsonl"), |text| {
        let doubled = text.clone();
        text.extend(b"\n");
        text.extend(doubled);
    });
    let output = JOINT(&workshop, "run").output().unwrap();
    done(&output);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("metrics.jsonl:3: "), "{said}");
    assert_eq!(metrics(&run), metrics(&workshop.path("whole")));
}

#[test]
fn a_finished_run_without_its_checkpoints_is_finished() {
    let workshop = Workshop::new();
    for train in [PRETRAIN, JOINT] {
        whole(&workshop, train);
        let run = workshop.path("whole");
        for folder in ["last", "last.before"] {
            fs::remove_dir_all(run.join(folder)).unwrap();
        }
        let before = files(&run);
        let output = train(&workshop, "whole").output().unwrap();
        done(&output);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("whole: all 3 epochs are done"), "{said}");
        assert!(files(&run) == before);

        // One that was not finished says what is missing, and starts anew only with --force.
        edit(&run.join("metrics.jsonl"), |text| {
            let lines = text.split_inclusive(|byte| *byte == b'\n');
            *text = lines.take(2).collect::<Vec<_>>().concat();
        });
        let words = [
            "whole: found a damaged run",
            "2 epochs are in metrics.jsonl",
            "--force",
        ];
        workshop.refuses(&mut train(&workshop, "whole"), 3, &words);
        done(&train(&workshop, "whole").arg("--force").output().unwrap());
        fs::remove_dir_all(run).unwrap();
    }
}

#[test]
fn a_best_model_that_was_moved_does_not_end_a_run_for_good() {
    let workshop = Workshop::new();
    let run = workshop.path("run");
    let mut training = Running::start(JOINT(&workshop, "run"));
    training.until("epoch 1/3");
    training.signal("TERM");
    training.end();
    fs::remove_file(run.join("best.safetensors")).unwrap();
    let output = JOINT(&workshop, "run").output().unwrap();
    done(&output);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("best.safetensors is missing; the best model of"),
        "{said}"
    );
    assert!(run.join("best.safetensors").exists() && run.join("report.json").exists());

    fs::rename(run.join("best.safetensors"), workshop.path("moved")).unwrap();
    let words = [
        "run: found a damaged run",
        "best.safetensors is missing",
        "put it back",
    ];
    workshop.refuses(&mut JOINT(&workshop, "run"), 3, &words);
    fs::rename(workshop.path("moved"), run.join("best.safetensors")).unwrap();
    done(&JOINT(&workshop, "run").output().unwrap());
}

#[test]
fn a_second_training_on_the_same_run_folder_is_refused_and_the_first_unharmed() {
    let workshop = Workshop::new();
    whole(&workshop, PRETRAIN);
    let mut first = Running::start(PRETRAIN(&workshop, "run"));
    first.until("epoch 1/3");
    first.signal("STOP");
    let said = ["run: another program is writing to it"];
    workshop.refuses(&mut PRETRAIN(&workshop, "run"), 2, &said);
    workshop.refuses(PRETRAIN(&workshop, "run").arg("--force"), 2, &said);
    first.signal("CONT");
    done(&first.end());
    assert_same(&workshop.path("run"), &workshop.path("whole"));
}

#[test]
fn a_finished_run_stays_as_it_is() {
    let workshop = Workshop::new();
    for train in [PRETRAIN, JOINT] {
        let folder = workshop.path("whole");
        whole(&workshop, train);
        let before = files(&folder);
        let output = train(&workshop, "whole").output().unwrap();
        done(&output);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("whole: all 3 epochs are done"), "{said}");
        assert!(files(&folder) == before);
        fs::remove_dir_all(folder).unwrap();
    }
}

#[test]
fn a_loss_that_is_no_number_ends_a_run_and_leaves_its_checkpoint() {
    let workshop = Workshop::new();
    let run = workshop.path("run");
    let mut training = Running::start(JOINT(&workshop, "run"));
    training.until("epoch 1/3");
    training.signal("TERM");
    failed(&training.end(), 75, &[]);
    // From here on with a rate that no model survives.
    edit(&run.join("config.toml"), |text| {
        let wild = String::from_utf8(text.clone()).unwrap();
        *text = wild.replace("\nlr = 0.01\n", "\nlr = 1e30\n").into_bytes();
    });
    let before = files(&run);
    let wild = ["--batch-size", "4", "--lr", "1e30"];
    let output = workshop.joint("run", &wild).output().unwrap();
    let advice = [
        "run: epoch ",
        "step ",
        "loss is ",
        "a smaller --lr (now 1",
        "from the last checkpoint",
    ];
    failed(&output, 5, &advice);
    let mut after = files(&run);
    assert!(after.remove(&run.join("diverged.json")).is_some());
    assert!(after == before);

    // The same settings again are warned of; the advice can be followed.
    let output = workshop.joint("run", &wild).output().unwrap();
    failed(&output, 5, &[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("which will happen again"), "{said}");
    let other = &mut workshop.joint("run", &["--batch-size", "4", "--seed", "9", "--lr", "0.01"]);
    workshop.refuses(other, 2, &["seed = 0, now it is 9"]);
    let mild = ["--batch-size", "4", "--lr", "0.01"];
    let output = workshop.joint("run", &mild).output().unwrap();
    done(&output);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("going on with the new learning rate"),
        "{said}"
    );
    assert!(said.contains("resuming after epoch 1 "), "{said}");
    assert!(!run.join("diverged.json").exists());
    // And from then on they are the run's own again.
    workshop.refuses(
        &mut workshop.joint("run", &wild),
        2,
        &["optimizer.lr = 0.01"],
    );

    // Epochs of one step: the loss is a number, what the model says after it is none.
    for batch in ["8", "1000"] {
        let wild = ["--lr", "1e30", "--batch-size", batch];
        let output = workshop.pretrain(batch, &wild).output().unwrap();
        failed(&output, 5, &["epoch 1, ", "step ", "is ", "--lr"]);
        let left = files(&workshop.path(batch));
        assert_eq!(
            left.len(),
            2,
            "the settings and the mark: {:?}",
            left.keys()
        );
        // Where there never was a checkpoint, too.
        let mild = ["--lr", "0.001", "--batch-size", batch];
        done(&workshop.pretrain(batch, &mild).output().unwrap());
    }
}

#[test]
fn a_full_disk_leaves_a_run_that_goes_on() {
    let workshop = Workshop::new();
    let disk = workshop.path("disk");
    fs::create_dir(&disk).unwrap();
    let mut trial = Command::new("unshare");
    trial
        .args(["-m", "mount", "-t", "tmpfs", "none"])
        .arg(&disk);
    if !trial.output().is_ok_and(|output| output.status.success()) {
        println!("skipped: no disk can be mounted here");
        return;
    }
    // The disk is seen by the commands in the script alone, and goes with them.
    let script =
        "mount -t tmpfs -o size=600k none disk && { \"$@\"; code=$?; cp -r disk/* .; exit $code; }";
    let training = PRETRAIN(&workshop, "disk/run");
    let mut small = Command::new("unshare");
    small
        .args(["-m", "sh", "-c", script, "sh"])
        .current_dir(workshop.path("."));
    small.arg(training.get_program()).args(training.get_args());
    failed(
        &small.output().unwrap(),
        1,
        &["disk/run/", "No space left on device"],
    );

    let run = workshop.path("run");
    assert!((1..3).contains(&done_so_far(&run, "epochs")));
    done(&PRETRAIN(&workshop, "run").output().unwrap());
    whole(&workshop, PRETRAIN);
    assert_same(&run, &workshop.path("whole"));
}

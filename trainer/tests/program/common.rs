//! A temporary folder with images, a baseline and a store, and the program running in it.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
    sync::OnceLock,
};

use data::synthetic;
use serde_json::Value;
use tempfile::TempDir;

use crate::test_store;
use library_tests::assert_success;

/// A folder of its own with 120 images in `data`, a model trained on them in `model.safetensors` and
/// a store of attacks on it in `a.db`.
pub struct TestDir(TempDir);

impl TestDir {
    pub fn new() -> Self {
        // Made once, kept in memory.
        static MADE: OnceLock<(Vec<u8>, Vec<u8>)> = OnceLock::new();
        let (net, db) = MADE.get_or_init(|| {
            let dir = Self::with_images();
            let better = ["--epochs", "6", "--lr", "0.05", "--augment", "none"];
            assert_success(&dir.pretrain("run", &better).output().unwrap());
            let (data, out) = (dir.path("data"), dir.path("a.db"));
            let net = dir.path("run/best.safetensors");
            test_store::write(&data, &net, &out, true);
            (fs::read(net).unwrap(), fs::read(out).unwrap())
        });
        let dir = Self::with_images();
        fs::write(dir.path("model.safetensors"), net).unwrap();
        fs::write(dir.path("a.db"), db).unwrap();
        dir
    }

    /// A folder with nothing but the images.
    pub fn with_images() -> Self {
        let dir = Self(tempfile::tempdir().unwrap());
        synthetic::write(&dir.path("data"), 100, 0, false).unwrap();
        dir
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The program with these arguments, in this folder.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trainer"));
        command.current_dir(self.0.path()).args(args);
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// `trainer pretrain` of three epochs into `out`, with more arguments.
    pub fn pretrain(&self, out: &str, more: &[&str]) -> Command {
        let mut command = self.command(&["pretrain", "--data", "data", "--width", "2"]);
        small(&mut command, out, more);
        command
    }

    /// `trainer train --method joint` likewise.
    pub fn joint(&self, out: &str, more: &[&str]) -> Command {
        let mut command = self.command(&["train", "--db", "a.db", "--method", "joint"]);
        small(&mut command, out, more);
        if !more.contains(&"--detector-layers") {
            command.args(["--detector-layers", "1"]);
        }
        command
    }

    /// What `trainer eval --json` says.
    pub fn eval(&self, more: &[&str]) -> Value {
        let output = self.run(&[&["eval", "--db", "a.db", "--json"], more].concat());
        assert_success(&output);
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Runs a command that must fail so and leave everything in this folder as it is.
    pub fn assert_refused(&self, command: &mut Command, code: i32, words: &[&str]) {
        library_tests::assert_refused(self.0.path(), command, code, words);
    }
}

pub fn small(command: &mut Command, out: &str, more: &[&str]) {
    let given = |option: &str| more.contains(&option);
    for (option, value) in [
        ("--epochs", "3"),
        ("--batch-size", "8"),
        ("--device", "cpu"),
    ] {
        if !given(option) {
            command.args([option, value]);
        }
    }
    command.args(["--out", out]).args(more);
}

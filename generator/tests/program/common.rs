//! A temporary folder with images and a model, and the program running in it.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use candle_core::Device;
use nn::model::{Architecture, Metadata};
use serde_json::Value;
use tempfile::TempDir;

use library_tests::assert_success;

/// A folder of its own with 60 images in `data` and a model of width 2 in `model.safetensors`.
pub struct TestDir(TempDir);

impl TestDir {
    pub fn new() -> Self {
        let dir = Self(tempfile::tempdir().unwrap());
        assert_success(&dir.run(&["synthetic", "--out", "data", "--count", "50"]));
        let model = Architecture::DEFAULT.init(2, 10, 1, &Device::Cpu).unwrap();
        let path = dir.path("model.safetensors");
        model.weights().write(&path, &Metadata::new()).unwrap();
        fs::write(dir.path("quick.toml"), "[cw]\nsteps = 3\n").unwrap();
        dir
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The program with these arguments, in this folder.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_generator"));
        command.current_dir(self.0.path()).args(args);
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// `generator build` of all six attacks with few steps, into `out`, with more arguments.
    pub fn build(&self, out: &str, more: &[&str]) -> Command {
        let mut command =
            self.command(&["build", "--data", "data", "--model", "model.safetensors"]);
        command.args(["--attacks-config", "quick.toml", "--device", "cpu"]);
        command.args(["--out", out]).args(more);
        command
    }

    /// The output of `generator info --json`.
    pub fn info(&self, db: &str) -> Value {
        let output = self.run(&["info", db, "--json"]);
        assert_success(&output);
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The content hash of a complete store, confirmed by `verify`.
    pub fn hash(&self, db: &str) -> String {
        let info = self.info(db);
        assert_eq!(info["meta"]["complete"], true);
        let hash = info["meta"]["content_hash"].as_str().unwrap().to_string();
        let verified = self.run(&["verify", db]);
        assert_success(&verified);
        assert!(String::from_utf8_lossy(&verified.stdout).contains(&hash));
        hash
    }

    /// Asserts that a command fails with this code and words and changes no file.
    pub fn assert_refused(&self, command: &mut Command, code: i32, words: &[&str]) {
        library_tests::assert_refused(self.0.path(), command, code, words);
    }
}

//! What the tests of both programs share: a program runs in a folder, and what must hold of its
//! exit code, its messages and the files it leaves is looked at.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Output, Stdio},
};

/// Runs a command that must fail with this code and one line that has all these words, and must
/// leave every file below a folder as it is.
pub fn refuses(folder: &Path, command: &mut Command, code: i32, words: &[&str]) {
    let before = files(folder);
    let output = command.output().unwrap();
    failed(&output, code, words);
    assert_eq!(output.stdout, b"");
    let after = files(folder);
    assert!(after.keys().eq(before.keys()), "{:?}", after.keys());
    assert!(after == before, "a file was changed by {command:?}");
}

/// Fails unless the program was successful.
pub fn done(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
}

/// Fails unless the program said one clear line about its failure, as the last one.
pub fn failed(output: &Output, code: i32, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    let errors: Vec<&str> = said
        .lines()
        .skip_while(|l| !l.starts_with("error: "))
        .collect();
    assert_eq!(errors.len(), 1, "one line for the error: {said}");
    for word in words {
        assert!(errors[0].contains(word), "no {word:?} in: {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

/// Every file and folder below a folder, with its content.
pub fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
            found.insert(path, Vec::new());
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

/// Changes the bytes of a file.
pub fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// The program at work.
pub struct Running {
    child: Child,
    said: BufReader<ChildStderr>,
}

impl Running {
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stderr.take().unwrap());
        Self { child, said }
    }

    /// Waits for a line that begins so.
    pub fn until(&mut self, beginning: &str) {
        let mut line = String::new();
        loop {
            let read = self.said.read_line(&mut line).unwrap();
            assert_ne!(read, 0, "it ended without saying {beginning:?}");
            if line.starts_with(beginning) {
                return;
            }
            line.clear();
        }
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for the end.
    pub fn end(mut self) -> Output {
        let mut stderr = Vec::new();
        self.said.read_to_end(&mut stderr).unwrap();
        let status = self.child.wait().unwrap();
        Output {
            status,
            stdout: Vec::new(),
            stderr,
        }
    }
}

impl Drop for Running {
    /// A test that fails leaves no program at work behind.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

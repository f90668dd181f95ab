//! Test helpers for both programs: run a command, assert its exit code, its error line and the files it left.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Output, Stdio},
    thread,
    time::Duration,
};

/// Runs a command that must fail with this exit code and one error line that contains all `words`, print
/// nothing on standard output and change no file below `folder`.
pub fn assert_refused(folder: &Path, command: &mut Command, code: i32, words: &[&str]) {
    let before = files(folder);
    let output = command.output().unwrap();
    assert_error(&output, code, words);
    assert_eq!(output.stdout, b"");
    let after = files(folder);
    assert!(after.keys().eq(before.keys()), "{:?}", after.keys());
    assert!(after == before, "a file was changed by {command:?}");
}

/// Fails unless the program ended with exit code 0.
pub fn assert_success(output: &Output) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
}

/// Fails unless the program ended with this exit code, and with one error line that contains all `words`.
pub fn assert_error(output: &Output, code: i32, words: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    let errors: Vec<&str> = stderr
        .lines()
        .skip_while(|line| !line.starts_with("error: "))
        .collect();
    assert_eq!(errors.len(), 1, "one error line, the last: {stderr}");
    for word in words {
        assert!(errors[0].contains(word), "no {word:?} in: {stderr}");
    }
    assert!(!stderr.contains("panicked"), "{stderr}");
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

/// A program in the background, killed when dropped, so that a failing test leaves none behind.
pub struct RunningProgram {
    child: Child,
    stderr: BufReader<ChildStderr>,
}

impl RunningProgram {
    /// Starts the command and reads its standard error.
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { child, stderr }
    }

    /// Waits for a line on standard error that begins with `prefix`.
    pub fn wait_for_line(&mut self, prefix: &str) {
        let mut line = String::new();
        loop {
            let read = self.stderr.read_line(&mut line).unwrap();
            assert_ne!(read, 0, "the program ended without the line {prefix:?}");
            if line.starts_with(prefix) {
                return;
            }
            line.clear();
        }
    }

    /// Sends a signal by its name, such as "TERM".
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.unwrap().success());
    }

    /// Stops the program, and returns when all its threads have stopped: the signal alone lets a thread end
    /// the system call it is in, such as a write.
    pub fn stop(&self) {
        self.signal("STOP");
        let threads = format!("/proc/{}/task", self.child.id());
        let stopped = |thread: io::Result<fs::DirEntry>| {
            let stat = fs::read_to_string(thread.unwrap().path().join("stat")).unwrap();
            // The state follows the name of the program, which is in parentheses.
            stat.rsplit_once(") ").unwrap().1.starts_with('T')
        };
        while !fs::read_dir(&threads).unwrap().all(stopped) {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits for the end of the program.
    pub fn wait(mut self) -> Output {
        let mut stderr = Vec::new();
        self.stderr.read_to_end(&mut stderr).unwrap();
        let status = self.child.wait().unwrap();
        Output {
            status,
            stdout: Vec::new(),
            stderr,
        }
    }
}

impl Drop for RunningProgram {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

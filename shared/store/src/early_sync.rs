//! Early write-back: a thread that flushes a growing file to the disk while the next rows are prepared, not
//! only at the end of each transaction.
//!
//! What is on the disk also leaves the system's page cache, so that a large store does not drive other files
//! out of it, and its pages are used again: on a virtual machine those are at hand, where new ones come from
//! the host, at a third of the speed.

use std::{
    fs::File,
    path::Path,
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::Duration,
};

use base::{Error, Result};

/// Time between two flushes.
const INTERVAL: Duration = Duration::from_millis(10);

/// Flushes the file until it is dropped, which must be after SQLite's connection to the file: a process that
/// closes a file gives up all its POSIX locks on it.
#[derive(Debug)]
pub(super) struct EarlySync {
    running: Option<(Sender<()>, JoinHandle<()>)>,
}

impl EarlySync {
    pub(super) fn start(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(INTERVAL) {
                // A failure here is reported by SQLite's own flush when it commits.
                let _ = file.sync_data();
                #[cfg(target_os = "linux")]
                let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
            }
        });
        Ok(Self {
            running: Some((stop, thread)),
        })
    }
}

impl Drop for EarlySync {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

//! Writing back early: a store that much is written to comes in, and the disk works on it while the next
//! rows are put together, not only at the end of each batch. What is on the disk leaves the system's
//! memory, so that a large store does not drive other files out of it, and its pages are used again: on a
//! virtual machine those are at hand, where new ones come from the host, at a third of the speed.

use std::{
    fs::File,
    path::Path,
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::Duration,
};

use base::{Error, Result};

/// Between two looks for something to write.
const PAUSE: Duration = Duration::from_millis(10);

/// Goes on until it is dropped. That must be after SQLite's connection: a process that closes a file
/// gives up all its locks on it.
#[derive(Debug)]
pub(super) struct WriteBack {
    working: Option<(Sender<()>, JoinHandle<()>)>,
}

impl WriteBack {
    pub(super) fn begin(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        let (sender, ended) = mpsc::channel();
        let thread = thread::spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(PAUSE) {
                // Whatever fails, SQLite hears of it too when it commits.
                let _ = file.sync_data();
                #[cfg(target_os = "linux")]
                let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
            }
        });
        Ok(Self {
            working: Some((sender, thread)),
        })
    }
}

impl Drop for WriteBack {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.working.take() {
            drop(sender);
            let _ = thread.join();
        }
    }
}

//! Writing back early: a store that much is written to comes in, and the disk works on it while the next
//! rows are put together, not only at the end of each batch.

use std::{
    fs::File,
    path::Path,
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{Error, Result};

/// Between two looks for something to write.
const PAUSE: Duration = Duration::from_millis(50);

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

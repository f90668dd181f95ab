//! Asking a program to stop: SIGTERM, SIGINT and SIGUSR1 come in, a flag goes out that long
//! loops look at between two batches.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};

use crate::{Error, Result};

/// Whether the program was asked to stop.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Listens from now on. A second signal of the same kind ends the program at once, which a
    /// store and a run folder survive.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses the handlers.
    pub fn listen() -> Result<Self> {
        let stop = Self::default();
        for signal in [SIGTERM, SIGINT, SIGUSR1] {
            let refused = |source| Error::Io {
                path: "signals".into(),
                action: "listen to",
                source,
            };
            signal_hook::flag::register_conditional_shutdown(signal, 75, stop.0.clone())
                .map_err(refused)?;
            signal_hook::flag::register(signal, stop.0.clone()).map_err(refused)?;
        }
        Ok(stop)
    }

    /// Fails with [`Error::Interrupted`] once a signal has come; `advice` says how to go on.
    pub fn check(&self, advice: &str) -> Result<()> {
        if self.0.load(Ordering::Relaxed) {
            return Err(Error::Interrupted(format!("stopped on request; {advice}")));
        }
        Ok(())
    }
}

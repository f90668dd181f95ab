//! Graceful shutdown: SIGTERM, SIGINT and SIGUSR1 set a flag that long loops check between batches.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};

use crate::{Error, Result};

/// The flag: whether a signal has arrived.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Installs the handlers. SIGINT after a signal ends the program at once; stores and run folders stay
    /// valid. Other signals may come more than once: Slurm sends them to all processes of a job, and scripts pass them on.
    ///
    /// # Errors
    /// [`Error::Io`] when the handlers cannot be installed.
    pub fn listen() -> Result<Self> {
        let stop = Self::default();
        for signal in [SIGTERM, SIGINT, SIGUSR1] {
            let refused = |source| Error::Io {
                path: "signals".into(),
                action: "listen to",
                source,
            };
            if signal == SIGINT {
                signal_hook::flag::register_conditional_shutdown(signal, 75, stop.0.clone())
                    .map_err(refused)?;
            }
            signal_hook::flag::register(signal, stop.0.clone()).map_err(refused)?;
        }
        Ok(stop)
    }

    /// Fails with [`Error::Interrupted`] after a signal; `advice` tells the user how to resume.
    pub fn check(&self, advice: &str) -> Result<()> {
        if self.0.load(Ordering::Relaxed) {
            return Err(Error::Interrupted(format!("stopped on request; {advice}")));
        }
        Ok(())
    }
}

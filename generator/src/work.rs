//! Long work of the store library with a progress bar, stopped by a signal.

use base::{Result, progress::Progress, signal::Stop};

/// Runs `work` with a callback for the number of images done, which fails after a signal.
///
/// # Errors
/// [`base::Error::Interrupted`] after a signal; errors of `work`.
pub fn with_progress<T>(
    title: &str,
    images: u64,
    work: impl FnOnce(&mut dyn FnMut(u64) -> Result<()>) -> Result<T>,
) -> Result<T> {
    let stop = Stop::listen()?;
    let mut bar = Progress::new(title, images);
    let done = work(&mut |images| {
        bar.add(images, "");
        stop.check("the same command begins anew")
    })?;
    bar.finish();
    Ok(done)
}

//! Progress of long work: a bar with rate and time left on a terminal, a plain line every 30 seconds
//! elsewhere.

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::log;

/// Time between two plain lines where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(30);
/// Time before the first one, so that an estimate of the total time appears soon.
const FIRST_LINE: Duration = Duration::from_secs(5);

/// Progress of one piece of work, counted in images.
pub struct Progress {
    what: String,
    total: u64,
    done: u64,
    started: Instant,
    next_line: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Starts counting up to `total` images.
    pub fn new(what: impl Into<String>, total: u64) -> Self {
        let what = what.into();
        let drawn = std::io::stderr().is_terminal() && !log::is_quiet() && !log::is_json();
        let bar = drawn.then(|| {
            let template = "{prefix} {wide_bar} {pos}/{len} images  {per_sec}  {eta} left  {msg}";
            let style = ProgressStyle::with_template(template)
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(total)
                .with_style(style)
                .with_prefix(what.clone())
        });
        let now = Instant::now();
        Self {
            what,
            total,
            done: 0,
            started: now,
            next_line: now + FIRST_LINE,
            bar,
        }
    }

    /// Counts `images` more; `note` is appended to the line.
    pub fn add(&mut self, images: u64, note: &str) {
        self.done += images;
        if let Some(bar) = &self.bar {
            bar.set_message(note.to_string());
            bar.inc(images);
        } else if Instant::now() >= self.next_line {
            self.next_line = Instant::now() + LINE_INTERVAL;
            self.log_line(note);
        }
    }

    /// Images per second since the start.
    pub fn rate(&self) -> f64 {
        self.done as f64 / self.started.elapsed().as_secs_f64().max(1e-9)
    }

    /// Ends the bar, or writes the last plain line.
    pub fn finish(self) {
        match &self.bar {
            Some(bar) => bar.finish_and_clear(),
            None => log::info(format_args!(
                "{}: {} images in {}, {:.0} images/s",
                self.what,
                self.done,
                duration(self.started.elapsed()),
                self.rate()
            )),
        }
    }

    fn log_line(&self, note: &str) {
        let left = self.total.saturating_sub(self.done) as f64 / self.rate().max(1e-9);
        if log::is_json() && !log::is_quiet() {
            let numbers = (self.done, self.total, self.rate(), left);
            log::progress(&self.what, numbers, note);
            return;
        }
        log::info(format_args!(
            "{}: {}/{} images, {:.0} images/s, {} left  {note}",
            self.what,
            self.done,
            self.total,
            self.rate(),
            duration(Duration::from_secs_f64(left.min(1e9)))
        ));
    }
}

/// A duration for people: `3 s`, `4 min 05 s`, `2 h 10 min`.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_formatted_for_people() {
        let texts = [3, 245, 7800].map(|s| duration(Duration::from_secs(s)));
        assert_eq!(texts, ["3 s", "4 min 05 s", "2 h 10 min"]);
    }
}

//! Logging to standard error as plain text or JSON lines, and printing of results to standard output.

use std::{
    fmt::Display,
    io::{ErrorKind, Write},
    path::Path,
    sync::{Mutex, OnceLock, PoisonError},
    time::SystemTime,
};

use serde_json::json;

use crate::{Error, Result, error::one_line, time::rfc3339};

/// Log settings.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// Only warnings and errors.
    pub quiet: bool,
    /// One JSON object per line instead of text.
    pub json: bool,
}

static SETTINGS: OnceLock<Settings> = OnceLock::new();

impl Settings {
    /// Sets them for the whole program; later calls have no effect.
    pub fn apply(self) {
        let _ = SETTINGS.set(self);
    }
}

fn settings() -> Settings {
    SETTINGS.get().copied().unwrap_or_default()
}

/// Whether nothing but warnings and errors is logged.
pub fn is_quiet() -> bool {
    settings().quiet
}

/// Whether lines are JSON objects.
pub fn is_json() -> bool {
    settings().json
}

/// Logs a message.
pub fn info(message: impl Display) {
    if !is_quiet() {
        line("info", "", &message);
    }
}

/// Maximum number of different warnings that are kept.
const MAX_WARNINGS: usize = 1000;

/// All warnings so far: each text once, with its count.
static WARNINGS: Mutex<Vec<(String, usize)>> = Mutex::new(Vec::new());

/// Logs a warning and keeps it for the [`summary`].
pub fn warning(message: impl Display) {
    let text = one_line(&message);
    line("warning", "warning: ", &text);
    let mut warnings = WARNINGS.lock().unwrap_or_else(PoisonError::into_inner);
    let known = warnings.iter().position(|(known, _)| *known == text);
    match known {
        Some(place) => warnings[place].1 += 1,
        None if warnings.len() < MAX_WARNINGS => warnings.push((text, 1)),
        None => {}
    }
}

/// The texts of all warnings so far, in order of their first occurrence.
pub fn warnings() -> Vec<String> {
    let warnings = WARNINGS.lock().unwrap_or_else(PoisonError::into_inner);
    warnings.iter().map(|(text, _)| text.clone()).collect()
}

/// Logs all warnings again with their counts, at the end of a program.
pub fn summary() {
    let warnings = WARNINGS.lock().unwrap_or_else(PoisonError::into_inner);
    let count: usize = warnings.iter().map(|(_, count)| count).sum();
    if count == 0 {
        return;
    }
    if is_json() {
        let texts: Vec<&str> = warnings.iter().map(|(text, _)| text.as_str()).collect();
        object(json!({"level": "warnings", "count": count, "messages": texts}));
        return;
    }
    let plural = if count == 1 { "" } else { "s" };
    stderr(&format_args!("{count} warning{plural}:"));
    for (text, count) in warnings.iter() {
        match count {
            1 => stderr(&format_args!("  {text}")),
            _ => stderr(&format_args!("  {text} ({count} times)")),
        }
    }
}

/// Logs the error that ends the program.
pub fn error(message: impl Display) {
    line("error", "error: ", &one_line(&message));
}

/// Logs progress as JSON: `(images done, total, images per second, seconds left)`.
pub fn progress(what: &str, (done, total, rate, left): (u64, u64, f64, f64), note: &str) {
    object(json!({
        "level": "progress",
        "what": what,
        "done": done,
        "total": total,
        "images_per_s": rate,
        "seconds_left": left,
        "note": note,
    }));
}

fn line(level: &str, prefix: &str, message: &dyn Display) {
    if is_json() {
        object(json!({"level": level, "message": message.to_string()}));
    } else {
        stderr(&format_args!("{prefix}{message}"));
    }
}

fn object(mut fields: serde_json::Value) {
    fields["time"] = rfc3339(SystemTime::now()).into();
    stderr(&fields);
}

/// Writes a line to standard error; a failure to write it is ignored.
fn stderr(line: &dyn Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Prints a command's result to standard output. A broken pipe is no error.
///
/// # Errors
/// [`Error::Io`] when it cannot be written.
pub fn result(text: impl Display) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let text = text.to_string();
    match writeln!(out, "{}", text.trim_end_matches('\n')).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(Error::io("write", Path::new("standard output"))),
    }
}

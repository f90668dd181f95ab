//! What programs say while they work: a message comes in; on standard error it goes out as a line for
//! people, as a line of JSON for programs that watch, or not at all.

use std::{
    fmt::Display,
    io::{ErrorKind, Write},
    path::Path,
    sync::{Mutex, OnceLock, PoisonError},
    time::SystemTime,
};

use serde_json::json;

use crate::{Error, Result, error::one_line, time::rfc3339};

/// What standard error gets, but for warnings and errors, which always come.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// Nothing else.
    pub quiet: bool,
    /// One JSON object a line instead of lines for people.
    pub json: bool,
}

static SETTINGS: OnceLock<Settings> = OnceLock::new();

impl Settings {
    /// Applies to the whole program; the first call counts.
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

/// Says what happens.
pub fn info(message: impl Display) {
    if !is_quiet() {
        line("info", "", &message);
    }
}

/// So many different warnings are kept.
const MOST: usize = 1000;

/// Every warning of this program so far, each text once, with how often it was said.
static WARNINGS: Mutex<Vec<(String, usize)>> = Mutex::new(Vec::new());

/// Says what somebody should know, though the work goes on. It is counted, and stands at the end of the
/// program's output again ([`summary`]).
pub fn warning(message: impl Display) {
    let text = one_line(&message);
    line("warning", "warning: ", &text);
    let mut warnings = WARNINGS.lock().unwrap_or_else(PoisonError::into_inner);
    let said = warnings.iter().position(|(said, _)| *said == text);
    match said {
        Some(place) => warnings[place].1 += 1,
        None if warnings.len() < MOST => warnings.push((text, 1)),
        None => {}
    }
}

/// The texts of all warnings so far, in the order they were first said.
pub fn warnings() -> Vec<String> {
    let warnings = WARNINGS.lock().unwrap_or_else(PoisonError::into_inner);
    warnings.iter().map(|(text, _)| text.clone()).collect()
}

/// Says all warnings once more, counted: for the end of a program, so that nobody must search its log.
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

/// Says why the work has ended.
pub fn error(message: impl Display) {
    line("error", "error: ", &one_line(&message));
}

/// Says how far the work is: `(images done, of, per second, seconds left)`.
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

/// A line of standard error; work does not end because nobody reads it.
fn stderr(line: &dyn Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Prints a command's result as lines of standard output. A reader that has gone wanted no more.
///
/// # Errors
/// [`Error::Io`] when it cannot be written for another reason.
pub fn result(text: impl Display) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let text = text.to_string();
    match writeln!(out, "{}", text.trim_end_matches('\n')).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(Error::io("write", Path::new("standard output"))),
    }
}

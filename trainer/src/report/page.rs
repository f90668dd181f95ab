//! HTML document of a report: head, navigation and the sections. It loads nothing from anywhere, and its
//! Content-Security-Policy says so to the browser.

use base::Result;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{
    ReportData,
    sections::{SECTIONS, Section},
};

const STYLE: &str = include_str!("style.css");

const LEAD: &str = "How models that were trained on images attacked in advance do on clean images and \
    on each kind of attacked ones, beside the baseline and the paper's own numbers. The attacks \
    were made against the baseline and not against the models measured here: read the numbers as how \
    well protection carries over, not as how a model stands against someone who attacks it directly.";

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Marks a file as a report of this program, of whatever version; it stands within the first bytes.
pub const GENERATOR: &str = "<meta name=\"generator\" content=\"mithridate ";

/// The whole document.
///
/// # Errors
/// [`base::Error::Data`] for an image of a wrong size.
pub fn html(data: &ReportData) -> Result<String> {
    let mut sections = Vec::new();
    for build in SECTIONS {
        sections.extend(build(data)?);
    }
    let names: Vec<&str> = data.runs.iter().map(|run| run.name.as_str()).collect();
    let policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";
    let document = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="generator" content={ "mithridate " (VERSION) };
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy" content=(policy);
                title { "Mithridate: " (names.join(", ")) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { "Mithridate" }
                    p.lead { (LEAD) }
                    (navigation(&sections))
                }
                main { @for section in &sections { (section) } }
                footer { "Written by mithridate " (VERSION) "." }
            }
        }
    };
    Ok(document.into_string())
}

fn navigation(sections: &[Section]) -> Markup {
    html! {
        nav aria-label="Sections" {
            @for section in sections {
                a href={ "#" (section.id) } { (section.link) }
            }
        }
    }
}

//! Sections of the report: one file and one row of [`SECTIONS`] each.

mod by_attack;
mod classes;
mod contact_sheet;
mod detection_tables;
mod detector;
mod distance;
mod mixed_set;
mod overview;
mod robustness;
mod training;

use base::Result;
use maud::{Markup, Render, html};

use super::{ReportData, elements::note};

/// Builds the sections of one kind: usually one, of some kinds one per run.
pub type BuildSections = fn(&ReportData) -> Result<Vec<Section>>;

/// All kinds of sections, in the page's order.
pub const SECTIONS: [BuildSections; 9] = [
    overview::sections,
    robustness::sections,
    by_attack::sections,
    mixed_set::sections,
    detector::sections,
    distance::sections,
    classes::sections,
    training::sections,
    contact_sheet::sections,
];

/// A part of the page under a heading.
pub struct Section {
    /// The anchor that the navigation links to.
    pub id: String,
    /// Its name in the navigation.
    pub link: String,
    /// Its heading.
    pub heading: String,
    /// What is under the heading.
    pub body: Markup,
}

impl Section {
    fn new(id: &str, link: &str, heading: &str, body: Markup) -> Self {
        Self {
            id: id.into(),
            link: link.into(),
            heading: heading.into(),
            body,
        }
    }
}

impl Render for Section {
    fn render(&self) -> Markup {
        html! {
            section id=(self.id) {
                h2 { (self.heading) }
                (self.body)
            }
        }
    }
}

/// Names the runs that are in no table of results, since they are not evaluated.
fn not_evaluated(data: &ReportData) -> Markup {
    html! {
        @for run in data.runs.iter().filter(|run| run.evaluation.is_none()) {
            @let why = if run.unfinished() { "is unfinished and " } else { "" };
            (note(&format!(
                "{} {why}has no report.json yet: it is in no table of results.", run.name
            )))
        }
    }
}

/// What a section of results shows where no run is evaluated.
fn no_results(data: &ReportData) -> Markup {
    html! {
        (not_evaluated(data))
        (note("No run has been evaluated yet."))
    }
}

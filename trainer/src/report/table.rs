//! HTML tables of results. The best measured value of each column is bold, rows quoted from the paper are gray.

use maud::{Markup, Render, html};

use super::{elements::scrollable, format::percent};

/// One table.
pub struct Table {
    /// What it shows.
    pub caption: String,
    /// Headings: of the rows' labels first, then of the cells.
    pub head: Vec<String>,
    /// Rows, as many cells each as there are headings after the first.
    pub rows: Vec<TableRow>,
}

/// One row.
#[derive(PartialEq)]
pub struct TableRow {
    /// What the row is about.
    pub label: String,
    /// A few words under the label, or nothing.
    pub note: String,
    /// Whether the row is quoted from the paper: gray, and never the best.
    pub reference: bool,
    /// The values.
    pub cells: Vec<Cell>,
}

/// One value.
#[derive(PartialEq)]
pub enum Cell {
    /// Words, or a number that is neither good nor bad.
    Text(String),
    /// A fraction in `[0,1]`, shown in percent; more is better.
    Percent(Option<f64>),
    /// A fraction in `[0,1]`, shown with three decimals; more is better.
    Fraction(Option<f64>),
}

impl Cell {
    /// The number, if it is one that can be better or worse.
    pub fn value(&self) -> Option<f64> {
        match self {
            Self::Text(_) => None,
            Self::Percent(value) | Self::Fraction(value) => *value,
        }
    }

    /// As it is shown.
    pub fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Percent(Some(value)) => percent(*value),
            Self::Fraction(Some(value)) => format!("{value:.3}"),
            Self::Percent(None) | Self::Fraction(None) => "–".into(),
        }
    }
}

impl Table {
    /// The text of the best measured cell of a column, where there are two to compare: cells that read the same
    /// are equally good.
    fn best(&self, column: usize) -> Option<String> {
        let measured = self.rows.iter().filter(|row| !row.reference);
        let cells: Vec<&Cell> = measured
            .filter_map(|row| row.cells.get(column))
            .filter(|cell| cell.value().is_some())
            .collect();
        let best = cells.iter().max_by(|a, b| {
            a.value()
                .partial_cmp(&b.value())
                .unwrap_or(std::cmp::Ordering::Equal)
        });
        best.filter(|_| cells.len() > 1).map(|cell| cell.text())
    }
}

impl Render for Table {
    fn render(&self) -> Markup {
        let best: Vec<Option<String>> = (0..self.head.len()).map(|c| self.best(c)).collect();
        let table = html! {
            table {
                caption { span { (self.caption) } }
                thead { tr { @for heading in &self.head { th scope="col" { (heading) } } } }
                tbody { @for row in &self.rows { (row.markup(&best)) } }
            }
        };
        scrollable(&self.caption, &table)
    }
}

impl TableRow {
    fn markup(&self, best: &[Option<String>]) -> Markup {
        html! {
            tr class=[self.reference.then_some("reference")] {
                th scope="row" {
                    (self.label)
                    @if !self.note.is_empty() { small { (self.note) } }
                }
                @for (cell, best) in self.cells.iter().zip(best) {
                    @let text = cell.text();
                    @let comparable = !self.reference && cell.value().is_some();
                    @if comparable && best.as_ref() == Some(&text) {
                        td { strong { (text) } }
                    } @else {
                        td { (text) }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(label: &str, reference: bool, value: Option<f64>) -> TableRow {
        TableRow {
            label: label.into(),
            note: String::new(),
            reference,
            cells: vec![Cell::Percent(value), Cell::Text("x".into())],
        }
    }

    #[test]
    fn the_best_measured_value_is_bold_and_the_papers_never_is() {
        let table = Table {
            caption: "a < b".into(),
            head: vec!["model".into(), "clean".into(), "note".into()],
            rows: vec![
                row("one", false, Some(0.5)),
                row("two", false, Some(0.87_31)),
                row("three", false, Some(0.87_34)),
                row("none", false, None),
                row("paper", true, Some(0.99)),
            ],
        };
        let html = table.render().into_string();
        assert_eq!(html.matches("<strong>87.3</strong>").count(), 2);
        assert_eq!(html.matches("<strong>").count(), 2);
        assert!(html.contains("<tr class=\"reference\"><th scope=\"row\">paper</th><td>99.0</td>"));
        assert!(html.contains("<td>–</td>") && html.contains("a &lt; b"));
    }
}

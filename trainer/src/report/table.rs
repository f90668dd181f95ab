//! Tables: rows of cells come in, an HTML table goes out, with the best measured value of each
//! column in bold and the paper's rows in gray.

use super::html::{escape, percent};

/// One table.
pub struct Table {
    /// What it shows; plain text.
    pub caption: String,
    /// Headings: of the rows' labels first, then of the cells.
    pub head: Vec<String>,
    /// Rows, as many cells each as there are headings after the first.
    pub rows: Vec<Row>,
}

/// One row.
#[derive(PartialEq)]
pub struct Row {
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
    /// Words or a number that is neither good nor bad.
    Text(String),
    /// A part of 1, shown in percent; more is better.
    Percent(Option<f64>),
    /// A part of 1, shown with three decimals; more is better.
    Part(Option<f64>),
}

impl Cell {
    fn value(&self) -> Option<f64> {
        match self {
            Self::Text(_) => None,
            Self::Percent(value) | Self::Part(value) => *value,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Text(text) => escape(text),
            Self::Percent(Some(value)) => percent(*value),
            Self::Part(Some(value)) => format!("{value:.3}"),
            Self::Percent(None) | Self::Part(None) => "–".into(),
        }
    }
}

impl Table {
    /// The table as HTML; wide ones scroll sideways in a box of their own.
    pub fn html(&self) -> String {
        let caption = escape(&self.caption);
        let head: String = (self.head.iter())
            .map(|heading| format!("<th scope=\"col\">{}</th>", escape(heading)))
            .collect();
        let best: Vec<Option<String>> = (0..self.head.len()).map(|c| self.best(c)).collect();
        let rows: String = self.rows.iter().map(|row| row.html(&best)).collect();
        format!(
            "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{caption}\">\
             <table>\n<caption><span>{caption}</span></caption>\n<thead><tr>{head}</tr></thead>\n\
             <tbody>\n{rows}</tbody></table></div>\n"
        )
    }

    /// The text of the best measured cell of a column, where there are two to compare: cells
    /// that read the same are equally good.
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

impl Row {
    fn html(&self, best: &[Option<String>]) -> String {
        let class = if self.reference {
            " class=\"reference\""
        } else {
            ""
        };
        let cells: String = (self.cells.iter().zip(best))
            .map(|(cell, best)| {
                let text = cell.text();
                let is_best =
                    !self.reference && cell.value().is_some() && best.as_ref() == Some(&text);
                match is_best {
                    true => format!("<td><strong>{text}</strong></td>"),
                    false => format!("<td>{text}</td>"),
                }
            })
            .collect();
        let note = match self.note.as_str() {
            "" => String::new(),
            note => format!("<small>{}</small>", escape(note)),
        };
        let label = escape(&self.label);
        format!("<tr{class}><th scope=\"row\">{label}{note}</th>{cells}</tr>\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(label: &str, reference: bool, value: Option<f64>) -> Row {
        Row {
            label: label.into(),
            note: String::new(),
            reference,
            cells: vec![Cell::Percent(value), Cell::Text("x".into())],
        }
    }

    #[test]
    fn the_best_measured_value_is_bold_and_the_paper_never_is() {
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
        let html = table.html();
        assert_eq!(html.matches("<strong>87.3</strong>").count(), 2);
        assert_eq!(html.matches("<strong>").count(), 2);
        assert!(html.contains("<tr class=\"reference\"><th scope=\"row\">paper</th><td>99.0</td>"));
        assert!(html.contains("<td>–</td>") && html.contains("a &lt; b"));
    }
}

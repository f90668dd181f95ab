//! Accuracy of each class and confusion matrices, clean and in the worst case: a table for each run and split.

use base::Result;
use maud::{Markup, Render, html};

use super::{Section, no_results};
use crate::{
    metrics::{ClassResults, Confusion},
    report::{
        ReportData,
        elements::{details, note},
        format::percent,
        results,
        table::{Cell, Table, TableRow},
    },
};

/// Confusion matrices of more classes than these are left to report.json.
const MAX_CLASSES: usize = 20;

const EXPLANATION: &str = "Worst case: an image counts only if it is classified correctly clean and on every stored \
    sample; the class it is mistaken for is the prediction on the misclassified sample nearest to it (L2), or on the \
    clean image where that is misclassified. In brackets, the images mistaken for the most frequent wrong class.";

/// The section of the classes.
pub fn sections(data: &ReportData) -> Result<Vec<Section>> {
    let measured: Vec<(String, &ClassResults)> = results::all(data.runs)
        .filter_map(|(run, _, result)| {
            let classes = result.classes.as_ref()?;
            Some((format!("{}, {} split", run.name, result.split), classes))
        })
        .collect();
    let body = if results::splits(data.runs).is_empty() {
        no_results(data)
    } else if measured.is_empty() {
        note("No run was evaluated by class.")
    } else {
        html! {
            @for (what, classes) in &measured { (details(what, &tables(what, classes))) }
            (note(EXPLANATION))
        }
    };
    let heading = "Accuracy by class";
    Ok(vec![Section::new("classes", "By class", heading, body)])
}

fn tables(what: &str, classes: &ClassResults) -> Markup {
    let worst = classes.worst_case.as_ref();
    html! {
        (accuracies(what, classes))
        @if classes.names.len() <= MAX_CLASSES {
            (matrix(&format!("{what}, clean"), classes, &classes.clean))
            @if let Some(worst) = worst {
                (matrix(&format!("{what}, worst case"), classes, worst))
            }
        }
    }
}

/// A row per class: images, accuracy and most frequent error, clean and in the worst case.
fn accuracies(what: &str, classes: &ClassResults) -> Markup {
    let cells = |class: usize, confusion: Option<&Confusion>| {
        let accuracy = confusion.and_then(|of| of.accuracy.get(class).copied().flatten());
        let error = confusion.and_then(|of| of.most_frequent_error(class));
        let error = error.map_or("–".into(), |(wrong, count)| {
            let name = classes.names.get(wrong).map_or("", String::as_str);
            format!("{name} ({count})")
        });
        // As text: the best class is not to be marked.
        [accuracy.map_or("–".into(), percent), error].map(Cell::Text)
    };
    let row = |(class, name): (usize, &String)| {
        let images = classes.images.get(class).map_or("–".into(), u64::to_string);
        let mut all = vec![Cell::Text(images)];
        all.extend(cells(class, Some(&classes.clean)));
        all.extend(cells(class, classes.worst_case.as_ref()));
        class_row(name, all)
    };
    let head = [
        "Class",
        "Images",
        "Clean",
        "mistaken for",
        "Worst case",
        "mistaken for",
    ];
    let table = Table {
        caption: format!("Accuracy in percent of each class: {what}"),
        head: head.map(String::from).into(),
        rows: classes.names.iter().enumerate().map(row).collect(),
    };
    table.render()
}

/// Counts by true class (rows) and predicted class (columns).
fn matrix(what: &str, classes: &ClassResults, confusion: &Confusion) -> Markup {
    let row = |(name, counts): (&String, &Vec<u64>)| {
        let cells = counts.iter().map(|count| Cell::Text(count.to_string()));
        class_row(name, cells.collect())
    };
    let head = ["True class".to_string()].into_iter();
    let table = Table {
        caption: format!("Confusion matrix, images by true and predicted class: {what}"),
        head: head.chain(classes.names.iter().cloned()).collect(),
        rows: classes
            .names
            .iter()
            .zip(&confusion.matrix)
            .map(row)
            .collect(),
    };
    table.render()
}

fn class_row(name: &str, cells: Vec<Cell>) -> TableRow {
    TableRow {
        label: name.into(),
        note: String::new(),
        reference: false,
        cells,
    }
}

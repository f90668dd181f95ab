//! The page: runs and images come in, one HTML document that needs nothing else goes out.

use base::Result;
use toml::{Table as Config, Value};

use crate::folder::State;

use super::{
    curves,
    html::{escape, percent, short},
    results,
    run::Run,
    strip::{AMPLIFY, PictureStrip},
    table::{Cell, Row, Table},
};

const STYLE: &str = include_str!("style.css");

const LEAD: &str = "How models that were trained on images attacked in advance do on clean images and \
    on each kind of attacked ones, beside the baseline and the paper's own numbers. The attacks \
    were made against the baseline and not against the models measured here: read the numbers as how \
    well protection carries over, not as how a model stands against someone who attacks it directly.";

/// The first bytes of every page of this program, by which it knows its own.
pub const GENERATOR: &str = "<meta name=\"generator\" content=\"mithridate ";

/// The whole document.
///
/// # Errors
/// [`base::Error::Data`] for an image that is none.
pub fn html(runs: &[Run], strips: Option<&[PictureStrip]>) -> Result<String> {
    let names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
    let (title, version) = (escape(&names.join(", ")), env!("CARGO_PKG_VERSION"));
    let mut body = section("runs", "Runs", &overview(runs).html());
    body += &results_sections(runs);
    for (number, run) in (1..).zip(runs) {
        body += &run_section(number, run);
    }
    body += &section("images", "Contact sheet", &contact_sheet(strips)?);
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         {GENERATOR}{version}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n\
         <title>Mithridate: {title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <header><h1>Mithridate</h1>\n<p class=\"lead\">{LEAD}</p>\n{}</header>\n\
         <main>\n{body}</main>\n<footer>Written by mithridate {version}.</footer>\n</body>\n</html>\n",
        navigation(runs)
    ))
}

fn navigation(runs: &[Run]) -> String {
    let fixed = [
        ("runs", "Runs"),
        ("attacks", "By attack"),
        ("mixed", "Mixed set"),
        ("detector", "Detector"),
    ];
    let fixed = fixed.map(|(id, text)| (id.to_string(), text.to_string()));
    let runs = (1..)
        .zip(runs)
        .map(|(n, run): (usize, _)| (format!("run-{n}"), run.name.clone()));
    let last = ("images".to_string(), "Contact sheet".to_string());
    let links: String = (fixed.into_iter().chain(runs).chain([last]))
        .map(|(id, text)| format!("<a href=\"#{id}\">{}</a>", escape(&text)))
        .collect();
    format!("<nav aria-label=\"Sections\">{links}</nav>\n")
}

fn section(id: &str, heading: &str, html: &str) -> String {
    format!(
        "<section id=\"{id}\">\n<h2>{}</h2>\n{html}</section>\n",
        escape(heading)
    )
}

fn note(text: &str) -> String {
    format!("<p class=\"note\">{}</p>\n", escape(text))
}

/// A row per run: what it is, how far it is, and its best epoch on the val split.
fn overview(runs: &[Run]) -> Table {
    let head = [
        "Run",
        "Seed",
        "Best epoch",
        "Clean",
        "Mixed",
        "images/s",
        "Time",
    ];
    let rows = runs.iter().map(|run| {
        let (best, text) = (run.best(), |text: Option<String>| {
            Cell::Text(text.unwrap_or("–".into()))
        });
        let trained = !run.epochs.is_empty();
        let seconds: f64 = run.epochs.iter().map(|epoch| epoch.seconds).sum();
        let rate = run
            .epochs
            .iter()
            .map(|epoch| epoch.images_per_s)
            .sum::<f64>()
            / run.epochs.len() as f64;
        let cells = vec![
            text(run.config.get("seed").map(plain)),
            text(best.map(|best| best.epoch.to_string())),
            Cell::Percent(best.and_then(|best| best.val.clean)),
            Cell::Percent(best.and_then(|best| best.val.mixed)),
            text(trained.then(|| short(rate.round()))),
            text(trained.then(|| duration(seconds))),
        ];
        Row {
            label: run.name.clone(),
            note: format!("{}, {}", run.method(), state(run)),
            reference: false,
            cells,
        }
    });
    Table {
        caption: "Accuracy in percent on the val split, at the best epoch".into(),
        head: head.map(String::from).into(),
        rows: rows.collect(),
    }
}

fn state(run: &Run) -> String {
    let epochs = match (run.done(), run.planned()) {
        (done, Some(planned)) if done < planned => {
            format!("unfinished, {done} of {planned} epochs")
        }
        (done, _) if run.evaluation.is_none() => format!("{done} epochs, not evaluated"),
        (done, _) => format!("{done} epochs"),
    };
    match &run.state {
        State::FinishedWithoutCheckpoints => epochs + ", checkpoints removed",
        State::Damaged(reason) => format!("{epochs}, damaged: {reason}"),
        _ => epochs,
    }
}

fn duration(seconds: f64) -> String {
    let time = std::time::Duration::try_from_secs_f64(seconds);
    time.map_or("–".into(), base::progress::duration)
}

fn results_sections(runs: &[Run]) -> String {
    let mut missing = String::new();
    for run in runs.iter().filter(|run| run.evaluation.is_none()) {
        let why = if run.unfinished() {
            "is unfinished and "
        } else {
            ""
        };
        missing += &note(&format!(
            "{} {why}has no report.json yet: it is in no table of results.",
            run.name
        ));
    }
    let splits = results::splits(runs);
    if splits.is_empty() {
        let nothing = missing + &note("No run has been evaluated yet.");
        let headings = [
            ("attacks", "Accuracy by attack"),
            ("mixed", "Accuracy on the mixed set"),
            ("detector", "Detector"),
        ];
        return headings
            .map(|(id, heading)| section(id, heading, &nothing))
            .concat();
    }
    let tables: String = splits
        .iter()
        .map(|split| results::by_attack(runs, split).html())
        .collect();
    let by_attack = tables
        + &missing
        + &note(
            "As the paper's Table 4. The baseline is the model that was attacked. Gray rows are \
                 the paper's, measured on its own 5,000 held-out training images (our val split). \
                 The best measured value of a column is bold.",
        );
    let mixed = results::mixed(runs).html()
        + &note(
            "As the paper's Table 2. In the mixed set each image of a split stands once, clean \
                 or as the variant of one attack.",
        );
    let detector = match results::detector(runs) {
        Some(table) => {
            let unchanged = results::unchanged(runs).map_or(String::new(), |counts| {
                note(&format!(
                    "Samples that equal their clean image are clean to the detector. There are ({counts})."
                ))
            });
            table.html()
                + &note("As the paper's Table 3. An AUC of 0.5 is chance, 1 is perfect.")
                + &unchanged
        }
        None => note("No evaluated run has a detector."),
    };
    section("attacks", "Accuracy by attack", &by_attack)
        + &section("mixed", "Accuracy on the mixed set", &mixed)
        + &section("detector", "Detector", &detector)
}

fn run_section(number: usize, run: &Run) -> String {
    let mut html = note(&format!("{}, {}.", run.method(), state(run)));
    if run.epochs.is_empty() {
        html += &note("No epoch is done yet: there is nothing to draw.");
    } else {
        let marked = run.best().map(|best| {
            let on = best.val.mixed.map_or(String::new(), |m| {
                format!(", {} % on the mixed set", percent(m))
            });
            let clean = best.val.clean.map_or("–".into(), percent);
            note(&format!(
                "Best epoch {}, marked in the charts: {clean} % on clean images{on} (val). \
                           Legends give the last epoch's values.",
                best.epoch
            ))
        });
        html += &marked.unwrap_or_default();
        html += &format!("<div class=\"charts\">{}</div>\n", curves::charts(run));
        html += &details("Numbers of every epoch", &curves::table(run).html());
    }
    for warning in run
        .evaluation
        .iter()
        .flat_map(|evaluation| &evaluation.warnings)
    {
        html += &note(&format!("Warning: {warning}"));
    }
    html += &details("Configuration", &configuration(&run.config));
    section(&format!("run-{number}"), &run.name, &html)
}

fn details(summary: &str, html: &str) -> String {
    format!("<details><summary>{summary}</summary>\n{html}</details>\n")
}

fn configuration(config: &Config) -> String {
    let mut rows = String::new();
    for (key, value) in config {
        settings(key, value, &mut rows);
    }
    format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Configuration\">\
             <table class=\"settings\"><caption><span>config.toml</span></caption><tbody>\n{rows}</tbody></table></div>\n"
    )
}

/// A row per value; a value in a table is called by its path, as `bounds.fgsm`.
fn settings(key: &str, value: &Value, rows: &mut String) {
    match value {
        Value::Table(table) => {
            for (inner, value) in table {
                settings(&format!("{key}.{inner}"), value, rows);
            }
        }
        value => {
            let (key, value) = (escape(key), escape(&plain(value)));
            *rows += &format!("<tr><th scope=\"row\">{key}</th><td>{value}</td></tr>\n");
        }
    }
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), String::from)
}

fn contact_sheet(strips: Option<&[PictureStrip]>) -> Result<String> {
    let Some(strips) = strips.filter(|strips| !strips.is_empty()) else {
        return Ok(note("No store was at hand to take images from."));
    };
    let figures: Vec<String> = strips
        .iter()
        .map(PictureStrip::html)
        .collect::<Result<_>>()?;
    let explained = format!(
        "Each image clean and as the attacks left it; below, what each attack changed, {AMPLIFY} \
         times as strong, around mid-gray. Under each column stands what the baseline takes the \
         image for; ✗ marks where it is wrong."
    );
    Ok(note(&explained) + &figures.concat())
}

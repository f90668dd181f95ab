//! Robustness under attacks on the models themselves: the usual table, the curve over the budget, the model with its
//! detector, and the evaluation's sanity checks.

use base::Result;
use maud::{Markup, html};

use super::Section;
use crate::{
    report::{
        ReportData,
        axis::Unit,
        elements::note,
        format::{percent, short},
        plot::{Horizontal, LineChart, Series},
        results,
        run_record::RunRecord,
        table::{Cell, Table, TableRow},
    },
    robust::summary::{BudgetResult, Robustness},
};

const EXPLANATION: &str = "White-box: the attacks see the model itself, unlike the stored samples, which were made \
    against the baseline and measure transfer. Only the white-box columns say what a model is worth against someone \
    who knows it; an accuracy there is an upper bound, since a better attack may exist. With the detector an image \
    counts unless an attack finds a misclassified image that the detector accepts.";

/// Colors of runs in the palette of style.css.
const COLORS: usize = 10;

/// The section, where a run has a `robust/robust.json`; else a note how to get one.
pub fn sections(data: &ReportData) -> Result<Vec<Section>> {
    let evaluated: Vec<(&RunRecord, &Robustness)> = data
        .runs
        .iter()
        .filter_map(|run| Some((run, run.robustness.as_ref()?)))
        .collect();
    let body = if evaluated.is_empty() {
        note(
            "No run was attacked itself: trainer robust does that. The tables of stored samples measure transfer.",
        )
    } else {
        html! {
            (table(&evaluated))
            (note(EXPLANATION))
            @if evaluated.iter().any(|(_, result)| result.results.len() > 1) {
                div.charts { (curve(&evaluated)) }
            }
            @for (run, result) in &evaluated { (checks(run, result)) }
        }
    };
    let heading = "Robustness under attack";
    Ok(vec![Section::new(
        "robustness",
        "Robustness",
        heading,
        body,
    )])
}

/// A row for each run and budget.
fn table(evaluated: &[(&RunRecord, &Robustness)]) -> Table {
    let mut attacks: Vec<&str> = Vec::new();
    for (_, result) in evaluated {
        for (name, _) in result.results.iter().flat_map(|budget| &budget.attacks.0) {
            if !attacks.contains(&name.as_str()) {
                attacks.push(name);
            }
        }
    }
    let with_detector = evaluated
        .iter()
        .any(|(_, result)| result.detector.is_some());
    let rows = evaluated.iter().flat_map(|(run, result)| {
        let attacks = &attacks;
        result
            .results
            .iter()
            .enumerate()
            .map(move |(index, budget)| row(run, result, (index, budget), attacks, with_detector))
    });
    let labels = attacks
        .iter()
        .map(|name| match robustness::EvaluationAttack::named(name) {
            Some(attack) => attack.label,
            None => name,
        });
    let detector = ["With detector, 1 % FPR", "5 % FPR"]
        .into_iter()
        .filter(|_| with_detector);
    let head = ["Model", "Clean", "Transfer worst case"]
        .into_iter()
        .chain(labels);
    let mut rows: Vec<TableRow> = rows.collect();
    let mut budgets = evaluated.iter().flat_map(|(_, result)| {
        let budgets = result.results.iter();
        budgets.map(|budget| (result.norm, budget.eps))
    });
    let first = budgets.next();
    // Rows of different budgets are not compared: none of them is the best.
    if budgets.any(|budget| Some(budget) != first) {
        for cell in rows.iter_mut().flat_map(|row| &mut row.cells) {
            *cell = Cell::Text(cell.text());
        }
    }
    Table {
        caption: "Accuracy in percent, clean, on the stored samples (transfer), and after each attack on the model \
                  itself (white-box)"
            .into(),
        head: head.chain(["Robust"]).chain(detector).map(String::from).collect(),
        rows,
    }
}

fn row(
    run: &RunRecord,
    result: &Robustness,
    (index, budget): (usize, &BudgetResult),
    attacks: &[&str],
    with_detector: bool,
) -> TableRow {
    let transfer = run
        .evaluation
        .as_ref()
        .and_then(|evaluation| results::of(evaluation, &result.split)?.worst_case);
    let mut cells = vec![Cell::Percent(Some(result.clean)), Cell::Percent(transfer)];
    cells.extend(
        attacks
            .iter()
            .map(|name| Cell::Percent(budget.attacks.get(name).copied())),
    );
    cells.push(Cell::Percent(Some(budget.robust)));
    if with_detector {
        let defended = result
            .detector
            .as_ref()
            .and_then(|detector| detector.results.get(index));
        for threshold in 0..2 {
            cells.push(Cell::Percent(
                defended.map(|defended| defended.robust[threshold]),
            ));
        }
    }
    let [low, high] = budget.interval.map(percent);
    let changed = result.changed.0.iter();
    let changed: String = changed
        .map(|(name, value)| format!(", {value} {name}"))
        .collect();
    TableRow {
        label: run.name.clone(),
        note: format!(
            "{} {}, {} images of {}{changed}, robust {low} to {high}",
            result.norm,
            budget_text(result, budget.eps),
            result.images,
            result.split
        ),
        reference: false,
        cells,
    }
}

/// Robust accuracy against the budget, from the clean accuracy at 0.
fn curve(evaluated: &[(&RunRecord, &Robustness)]) -> LineChart {
    let points = |result: &Robustness| {
        let budgets = result
            .results
            .iter()
            .map(|budget| (budget.eps, budget.robust));
        std::iter::once((0.0, result.clean))
            .chain(budgets)
            .collect::<Vec<_>>()
    };
    let mut grid: Vec<f64> = evaluated
        .iter()
        .flat_map(|(_, result)| points(result))
        .map(|(eps, _)| eps)
        .collect();
    grid.sort_by(f64::total_cmp);
    grid.dedup();
    let all_linf = evaluated
        .iter()
        .all(|(_, result)| result.norm == robustness::Norm::Linf);
    let place = |eps: f64| grid.iter().position(|at| *at == eps).unwrap_or(0) as f64;
    let series = evaluated.iter().enumerate().map(|(color, (run, result))| {
        let mut points = points(result);
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        Series {
            name: format!("{}, {}", run.name, result.norm),
            color: 1 + color % COLORS,
            dashed: false,
            points: points
                .into_iter()
                .map(|(eps, accuracy)| (place(eps), accuracy))
                .collect(),
        }
    });
    LineChart {
        title: "Robust accuracy in percent against the budget".into(),
        horizontal: Horizontal::Named {
            title: if all_linf { "eps, in 255ths" } else { "eps" }.into(),
            labels: grid
                .iter()
                .map(|eps| short(if all_linf { 255.0 * eps } else { *eps }))
                .collect(),
        },
        unit: Unit::Percent,
        series: series.collect(),
        marked: None,
    }
}

/// The sanity checks of a run, those that are not ok first.
fn checks(run: &RunRecord, result: &Robustness) -> Markup {
    let failed: Vec<_> = result.sanity.iter().filter(|check| !check.ok).collect();
    let passed = result.sanity.len() - failed.len();
    html! {
        p.note {
            (run.name) ": " (passed) " of " (result.sanity.len()) " sanity checks of the evaluation are ok."
        }
        @if !failed.is_empty() {
            ul {
                @for check in failed {
                    li {
                        (check.name) " is " (format!("{:.4}", check.value)) ", limit "
                        (format!("{:.4}", check.limit)) ": " (check.meaning) "."
                    }
                }
            }
        }
    }
}

/// A budget as it is usually written.
fn budget_text(result: &Robustness, eps: f64) -> String {
    match result.norm {
        robustness::Norm::Linf => format!("{}/255", short(255.0 * eps)),
        robustness::Norm::L2 => short(eps),
    }
}

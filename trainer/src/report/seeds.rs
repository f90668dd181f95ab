//! Runs that differ in nothing but their seed: mean and spread of their rows in a table.

use std::collections::BTreeSet;

use super::{
    format::percent,
    run_record::RunRecord,
    table::{Cell, TableRow},
};

/// Settings that follow from the seed, or say where a run's data lie.
const OF_THE_SEED: [&str; 6] = ["seed", "data", "db", "more_db", "data_hash", "init"];

/// The rows of runs, or of their baselines, and after them a row for each group of runs that differ in nothing but
/// their seed.
pub fn with_means(rows: Vec<(&RunRecord, TableRow)>) -> Vec<TableRow> {
    let mut groups: Vec<((String, String), Vec<usize>)> = Vec::new();
    for (position, (run, _)) in rows.iter().enumerate() {
        let key = (settings(run), measured(run));
        match groups.iter_mut().find(|(other, _)| *other == key) {
            Some((_, members)) => members.push(position),
            None => groups.push((key, vec![position])),
        }
    }
    let means: Vec<TableRow> = groups
        .iter()
        .map(|(_, members)| {
            let members = members.iter().map(|&position| &rows[position]);
            members.collect::<Vec<_>>()
        })
        .filter(|members| members.len() > 1 && have_distinct_seeds(members))
        .map(|members| mean(&members))
        .collect();
    rows.into_iter().map(|(_, row)| row).chain(means).collect()
}

/// All settings but those of the seed.
fn settings(run: &RunRecord) -> String {
    let kept = run
        .config
        .iter()
        .filter(|(key, _)| !OF_THE_SEED.contains(&key.as_str()));
    kept.map(|(key, value)| format!("{key} = {value}\n"))
        .collect()
}

/// What a run was measured on: the kind of baseline, images and attacks. The stores themselves differ with the seed.
fn measured(run: &RunRecord) -> String {
    let Some(evaluation) = &run.evaluation else {
        return String::new();
    };
    let splits = evaluation.splits.iter().map(|result| {
        let attacks: Vec<&str> = result
            .attacks
            .0
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        format!("{} {} {}\n", result.split, result.images, attacks.join(","))
    });
    format!(
        "{}\n{}",
        evaluation.surrogate.name,
        splits.collect::<String>()
    )
}

fn have_distinct_seeds(members: &[&(&RunRecord, TableRow)]) -> bool {
    let seeds: BTreeSet<_> = members.iter().map(|(run, _)| run.setting("seed")).collect();
    seeds.len() == members.len()
}

/// A run's name without its seed's number and folder.
fn without_seed(name: &str, run: &RunRecord) -> String {
    let Some(seed) = run.setting("seed") else {
        return name.into();
    };
    let name = name.replace(&format!("seed-{seed}/"), "");
    let shorter = name.strip_suffix(&format!("-{seed}"));
    shorter.map_or(name.clone(), String::from)
}

/// The mean over the runs and, after it, the sample standard deviation of every cell that all of them have.
fn mean(members: &[&(&RunRecord, TableRow)]) -> TableRow {
    let count = members.len();
    let columns = members
        .iter()
        .map(|(_, row)| row.cells.len())
        .min()
        .unwrap_or(0);
    let cells = (0..columns).map(|column| {
        let cells: Vec<&Cell> = members.iter().map(|(_, row)| &row.cells[column]).collect();
        let values: Option<Vec<f64>> = cells.iter().map(|cell| cell.value()).collect();
        let Some(values) = values else {
            let same = cells.iter().all(|cell| *cell == cells[0]);
            return match cells[0] {
                Cell::Text(text) if same => Cell::Text(text.clone()),
                _ => Cell::Text("–".into()),
            };
        };
        let mean = values.iter().sum::<f64>() / count as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (squares / (count - 1) as f64).sqrt();
        Cell::Text(match cells[0] {
            Cell::Fraction(_) => format!("{mean:.3} ± {deviation:.3}"),
            _ => format!("{} ± {}", percent(mean), percent(deviation)),
        })
    });
    let (run, first) = members[0];
    let name = without_seed(&first.label, run);
    let mut names = members
        .iter()
        .map(|(run, row)| without_seed(&row.label, run));
    let same = names.all(|other| other == name);
    let label = if same { &name } else { run.method() };
    let seeds: Vec<String> = members
        .iter()
        .filter_map(|(run, _)| run.setting("seed"))
        .collect();
    TableRow {
        label: format!("{label}, mean of {count} seeds"),
        note: format!("seeds {}; ± standard deviation", seeds.join(", ")),
        reference: false,
        cells: cells.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::RunState;

    fn run(config: &str) -> RunRecord {
        RunRecord {
            name: "run".into(),
            config: config.parse().unwrap(),
            epochs: Vec::new(),
            evaluation: None,
            robustness: None,
            state: RunState::Finished,
        }
    }

    fn row(label: &str, accuracy: f64) -> TableRow {
        TableRow {
            label: label.into(),
            note: String::new(),
            reference: false,
            cells: vec![
                Cell::Text("50.0".into()),
                Cell::Percent(Some(accuracy)),
                Cell::Percent(None),
            ],
        }
    }

    fn text(seed: u32, lr: f64) -> String {
        format!("method = 'joint'\nseed = {seed}\ndb = '{seed}.db'\n[optimizer]\nlr = {lr}")
    }

    #[test]
    fn baselines_of_runs_that_differ_in_their_seed_alone_have_a_row_of_means() {
        let runs = [0, 1].map(|seed| run(&text(seed, 0.1)));
        let rows = runs
            .iter()
            .zip([0.5, 0.7])
            .map(|(run, accuracy)| (run, row("Baseline", accuracy)));
        let rows = with_means(rows.collect());
        assert_eq!(rows[2].label, "Baseline, mean of 2 seeds");
        assert!(rows[2].cells[1] == Cell::Text("60.0 ± 14.1".into()));
    }

    #[test]
    fn rows_of_means_have_the_setting_in_their_name_and_one_run_twice_has_none() {
        let seeds = [4, 5];
        let runs = seeds.map(|seed| run(&text(seed, 0.1)));
        let named = |run, seed| (run, row(&format!("low-0.5-2-{seed}"), 0.5));
        let rows = with_means(vec![named(&runs[0], 4), named(&runs[1], 5)]);
        assert_eq!(rows[2].label, "low-0.5-2, mean of 2 seeds");
        let twice = with_means(vec![named(&runs[0], 4), named(&runs[0], 4)]);
        assert_eq!(twice.len(), 2);
    }

    #[test]
    fn runs_that_differ_in_their_seed_alone_have_a_row_of_means_and_others_do_not() {
        let runs = [(0, 0.1), (1, 0.1), (1, 0.2), (2, 0.1)].map(|(seed, lr)| run(&text(seed, lr)));
        let rows = runs.iter().zip([0.5, 0.6, 0.1, 0.7]).enumerate();
        let rows = rows.map(|(i, (run, accuracy))| (run, row(&format!("run {i}"), accuracy)));
        let rows = with_means(rows.collect());
        assert_eq!(rows.len(), 5);
        assert_eq!(rows[4].label, "joint, mean of 3 seeds");
        assert!(
            rows[4].note.starts_with("seeds 0, 1, 2"),
            "{}",
            rows[4].note
        );
        let text: Vec<&Cell> = rows[4].cells.iter().collect();
        let expected = ["50.0", "60.0 ± 10.0", "–"].map(|text| Cell::Text(text.into()));
        assert!(text.into_iter().eq(&expected));
    }
}

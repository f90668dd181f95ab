//! Tables of the detector's results for each attack alone, beside those on the mixed set.

use maud::{Markup, html};

use crate::{
    metrics::{AttackDetection, Detection},
    report::{
        elements::note,
        format::{percent, short},
        names, results,
        run_record::RunRecord,
        table::{Cell, Table, TableRow},
    },
};

const EXPLANATION: &str = "Each attack alone: the AUC is that of its changed samples against the clean images of the \
    same split. A true positive rate (TPR) is the part of the samples that is flagged at a threshold: of all changed \
    samples, and of the successful ones, which the evaluated model misclassifies while it classifies their clean \
    images correctly. The thresholds are the same for all attacks and splits, chosen on clean val images alone.";

/// A table for each run with a detector and each split; nothing where no file has such results.
pub fn tables(runs: &[RunRecord]) -> Markup {
    let measured: Vec<(String, &Detection)> = results::all(runs)
        .filter_map(|(run, _, result)| {
            let detection = result.detection.as_ref()?;
            Some((format!("{}, {} split", run.name, result.split), detection))
        })
        .collect();
    html! {
        @for (what, detection) in &measured {
            (table(what, detection))
            @if let Some(reason) = &detection.no_thresholds {
                (note(&format!("{what}: no true positive rates, since there are no thresholds: {reason}.")))
            }
        }
        @if !measured.is_empty() { (note(EXPLANATION)) }
    }
}

fn table(what: &str, detection: &Detection) -> Table {
    let mut head = ["Attack", "Changed", "Successful", "AUC"]
        .map(String::from)
        .to_vec();
    for threshold in &detection.thresholds {
        let fpr = short(100.0 * threshold.fpr);
        head.extend([format!("TPR at {fpr} % FPR"), "of successful".into()]);
    }
    let measured = detection.thresholds.iter().map(|threshold| {
        format!(
            "; {} % FPR: scores above {}, which {} % of this split's clean images have",
            short(100.0 * threshold.fpr),
            short(threshold.score),
            short(100.0 * threshold.measured_fpr)
        )
    });
    let attacks = || detection.attacks.0.iter();
    let adversarial = attacks().filter(|(_, attack)| attack.adversarial);
    let noise = attacks().filter(|(_, attack)| !attack.adversarial);
    Table {
        caption: format!(
            "The detector by attack, rates in percent: {what}{}",
            measured.collect::<String>()
        ),
        head,
        rows: adversarial
            .chain(noise)
            .map(|(name, attack)| row(name, attack))
            .collect(),
    }
}

/// All cells are text: the best attack is not to be marked.
fn row(name: &str, attack: &AttackDetection) -> TableRow {
    let dash = || "–".to_string();
    let mut cells = vec![
        attack.changed.to_string(),
        attack.successful.to_string(),
        attack.auc.map_or_else(dash, |auc| format!("{auc:.3}")),
    ];
    for rate in &attack.tpr {
        let rates = [rate.changed, rate.successful];
        cells.extend(rates.map(|rate| rate.map_or_else(dash, percent)));
    }
    let note = if attack.adversarial {
        ""
    } else {
        "noise, not adversarial"
    };
    TableRow {
        label: names::label(name).into(),
        note: note.into(),
        reference: false,
        cells: cells.into_iter().map(Cell::Text).collect(),
    }
}

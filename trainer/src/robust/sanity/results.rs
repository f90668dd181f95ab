//! Sanity checks of the results.

use base::Result;

use super::Evidence;
use crate::robust::summary::BudgetResult;

/// Whether accuracy rises with the budget.
pub fn monotone(evidence: &Evidence) -> Result<Option<(f64, f64)>> {
    let mut by_budget: Vec<&BudgetResult> = evidence.results.iter().collect();
    by_budget.sort_by(|a, b| a.eps.total_cmp(&b.eps));
    let rises = by_budget
        .windows(2)
        .map(|pair| pair[1].robust - pair[0].robust);
    Ok(rises.reduce(f64::max).map(|rise| (rise, 0.0)))
}

/// AutoAttack's limit: 0.2 points below what gradient attacks leave.
pub fn black_box_gain(evidence: &Evidence) -> Result<Option<(f64, f64)>> {
    let attacks = &evidence.settings.attacks;
    let Some(square) = attacks
        .iter()
        .position(|name| name == "square")
        .filter(|&place| place > 0)
    else {
        return Ok(None);
    };
    let gain = |result: &BudgetResult| {
        let after = |place: usize| result.attacks.0.get(place).map_or(0.0, |(_, value)| *value);
        after(square - 1) - after(square)
    };
    let gains = evidence.results.iter().map(gain);
    Ok(gains.reduce(f64::max).map(|gain| (gain, 0.002)))
}

/// Images that only the attack on the classifier alone brings past the detector.
pub fn adaptive(evidence: &Evidence) -> Result<Option<(f64, f64)>> {
    let Some((defense, columns, rows)) = evidence.defense else {
        return Ok(None);
    };
    let mut worst = 0;
    for threshold in &defense.thresholds {
        let fooled = |values: &Vec<String>, column: usize| {
            let score: Option<f64> = values[column].parse().ok();
            score.is_some_and(|score| score <= threshold.threshold)
        };
        let only = rows.values().filter(|values| {
            fooled(values, 0) && !(1..columns.len()).any(|column| fooled(values, column))
        });
        worst = worst.max(only.count());
    }
    Ok(Some((worst as f64 / rows.len().max(1) as f64, 0.0)))
}

//! Summary of a store's samples: success, distances and accuracy for each split and attack.

use rusqlite::Connection;

/// A row of the view `attack_summary`, and how often the attack succeeded.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct SummaryRow {
    /// `train`, `val` or `test`.
    pub split: String,
    /// The attack's name.
    pub attack: String,
    /// Samples.
    pub count: u64,
    /// Share of them that the surrogate classifies correctly.
    pub surrogate_accuracy: f64,
    /// Share of the images that the surrogate classifies correctly while they are clean, and not any
    /// more as samples; none where it classifies no clean image correctly.
    pub success: Option<f64>,
    /// Mean L2 distance from the clean images.
    pub mean_l2: f64,
    /// Mean Linf distance.
    pub mean_linf: f64,
    /// Samples that equal their clean image.
    pub unchanged: u64,
    /// Of those, samples of images that the surrogate misclassifies anyway.
    pub unchanged_misclassified: u64,
}

/// Computes the summary from all rows.
pub(super) fn read(conn: &Connection) -> rusqlite::Result<Vec<SummaryRow>> {
    // The view has no success, and to join it with one would read all rows twice.
    let sql = "SELECT i.split, a.name, count(*), avg(s.pred = i.label), avg(s.l2), \
               avg(s.linf), avg(s.pred <> i.label) FILTER (WHERE i.clean_pred = i.label), \
               count(*) FILTER (WHERE s.linf = 0), \
               count(*) FILTER (WHERE s.linf = 0 AND i.clean_pred <> i.label) \
               FROM sample s JOIN image i ON i.id = s.image_id \
               JOIN attack a ON a.id = s.attack_id GROUP BY i.split, a.id \
               ORDER BY i.split = 'test', i.split = 'val', a.id";
    let mut query = conn.prepare(sql)?;
    let rows = query.query_map([], |row| {
        Ok(SummaryRow {
            split: row.get(0)?,
            attack: row.get(1)?,
            count: row.get(2)?,
            surrogate_accuracy: row.get(3)?,
            mean_l2: row.get(4)?,
            mean_linf: row.get(5)?,
            success: row.get(6)?,
            unchanged: row.get(7)?,
            unchanged_misclassified: row.get(8)?,
        })
    })?;
    rows.collect()
}

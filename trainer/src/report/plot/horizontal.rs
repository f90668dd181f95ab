//! Horizontal axis of a chart: epochs, or named values at even distances.

use super::{
    super::axis::{drawable, epoch_ticks},
    LEFT, RIGHT,
};

/// What the first numbers of a chart's points are.
pub enum Horizontal {
    /// Epochs.
    Epochs,
    /// Indices of named values, from 0.
    Named {
        /// What they are values of.
        title: String,
        /// Their names.
        labels: Vec<String>,
    },
}

/// The axis: from half a unit before the first value to half a unit after the last.
pub struct HorizontalAxis<'a> {
    first: f64,
    last: f64,
    of: &'a Horizontal,
}

impl<'a> HorizontalAxis<'a> {
    /// Around these values; of named ones around all that have a name.
    pub fn around(of: &'a Horizontal, values: impl Iterator<Item = f64>) -> Self {
        let (first, last) = match of {
            Horizontal::Epochs => values
                .filter(|&value| drawable(value))
                .fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), value| {
                    (a.min(value), b.max(value))
                }),
            Horizontal::Named { labels, .. } => (0.0, labels.len().saturating_sub(1) as f64),
        };
        let (first, last) = if first > last {
            (1.0, 1.0)
        } else {
            (first, last)
        };
        Self { first, last, of }
    }

    /// The x coordinate of a value.
    pub fn x(&self, value: f64) -> f64 {
        let position = (value - self.first + 0.5) / (self.last - self.first + 1.0);
        LEFT + (RIGHT - LEFT) * position.clamp(0.0, 1.0)
    }

    /// The x coordinate of the axis's right end.
    pub fn end(&self) -> f64 {
        self.x(self.last + 0.5)
    }

    /// What the values are.
    pub fn title(&self) -> &str {
        match self.of {
            Horizontal::Epochs => "epoch",
            Horizontal::Named { title, .. } => title,
        }
    }

    /// Ticks as (value, label).
    pub fn ticks(&self) -> Vec<(f64, String)> {
        match self.of {
            Horizontal::Epochs => epoch_ticks(self.first, self.last)
                .into_iter()
                .map(|epoch| (epoch, epoch.to_string()))
                .collect(),
            Horizontal::Named { labels, .. } => {
                let named = (0u32..).map(f64::from).zip(labels);
                named.map(|(index, label)| (index, label.clone())).collect()
            }
        }
    }

    /// A value in words, as in `epoch 3`.
    pub fn words(&self, value: f64) -> String {
        let name = match self.of {
            Horizontal::Epochs => None,
            Horizontal::Named { labels, .. } => labels.get(value as usize).cloned(),
        };
        format!("{} {}", self.title(), name.unwrap_or(value.to_string()))
    }
}

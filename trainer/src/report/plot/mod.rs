//! Charts over epochs: series come in, a figure (legend and SVG) goes out as a string. Colors
//! are names that the page's style resolves, so that a chart suits light and dark pages.

use std::fmt::Write;

use super::{
    axis::{Axis, Unit, drawable, epoch_ticks},
    html::{escape, percent, short},
};

/// A quantity over the epochs.
pub struct Series {
    /// What the legend calls it; plain text.
    pub name: String,
    /// Color of the palette.
    pub color: usize,
    /// Whether its line is dashed.
    pub dashed: bool,
    /// (epoch, value), epochs rising; a value that is not finite leaves a gap.
    pub points: Vec<(f64, f64)>,
}

/// Lines over epochs.
pub struct Lines {
    /// What the chart shows; plain text.
    pub title: String,
    /// What the values count.
    pub unit: Unit,
    /// The lines; those without points are left out.
    pub series: Vec<Series>,
    /// An epoch to mark, the best one.
    pub mark: Option<f64>,
}

/// Parts of a whole over epochs, stacked from the bottom.
pub struct Stack {
    /// What the chart shows; plain text.
    pub title: String,
    /// The epochs, rising.
    pub epochs: Vec<f64>,
    /// The parts: parts of 1, one value for each epoch.
    pub layers: Vec<Layer>,
}

/// One part of a whole.
pub struct Layer {
    /// What the legend calls it; plain text.
    pub name: String,
    /// Color of the palette.
    pub color: usize,
    /// One value for each epoch.
    pub values: Vec<f64>,
}

// The drawing's size in its own units; the text's size is in the page's style.
const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 44.0;
const RIGHT: f64 = WIDTH - 10.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = HEIGHT - 36.0;

/// Where epochs lie: from half an epoch before the first to half an epoch after the last.
struct Epochs {
    first: f64,
    last: f64,
}

impl Epochs {
    fn around(epochs: impl Iterator<Item = f64>) -> Self {
        let (first, last) = epochs
            .filter(|&epoch| drawable(epoch))
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), e| {
                (a.min(e), b.max(e))
            });
        let (first, last) = if first > last {
            (1.0, 1.0)
        } else {
            (first, last)
        };
        Self { first, last }
    }

    fn x(&self, epoch: f64) -> f64 {
        let place = (epoch - self.first + 0.5) / (self.last - self.first + 1.0);
        LEFT + (RIGHT - LEFT) * place.clamp(0.0, 1.0)
    }
}

fn height(place: f64) -> f64 {
    BOTTOM - (BOTTOM - TOP) * place.clamp(0.0, 1.0)
}

impl Lines {
    /// The chart as an HTML figure.
    pub fn html(&self) -> String {
        let drawn: Vec<&Series> = self
            .series
            .iter()
            .filter(|s| s.points.iter().any(|p| drawable(p.1)))
            .collect();
        let points = || {
            drawn
                .iter()
                .flat_map(|s| &s.points)
                .filter(|p| drawable(p.1))
        };
        let epochs = Epochs::around(points().map(|p| p.0));
        let axis = Axis::around(points().map(|p| p.1), self.unit);

        let mut svg = frame(&epochs, &axis);
        if let Some(mark) = self.mark.filter(|_| !drawn.is_empty()) {
            let x = epochs.x(mark);
            let _ = write!(
                svg,
                "<path class=\"mark\" d=\"M{x:.1} {TOP}V{BOTTOM}\"><title>best: epoch {mark}</title></path>"
            );
        }
        for series in &drawn {
            svg.push_str(&line(series, &epochs, &axis, self.unit));
        }
        let legend = drawn.iter().map(|s| {
            let last = s.points.iter().rev().find(|p| drawable(p.1));
            let value = last.map_or(String::new(), |p| value(p.1, self.unit));
            (s.name.as_str(), s.color, s.dashed, value)
        });
        figure(&self.title, legend, &svg, drawn.is_empty())
    }
}

/// One line with a dot at its end; a point that has no neighbor is a dot too.
fn line(series: &Series, epochs: &Epochs, axis: &Axis, unit: Unit) -> String {
    let (mut path, mut dots) = (String::new(), String::new());
    let runs = series
        .points
        .split(|p| !drawable(p.1))
        .filter(|run| !run.is_empty());
    for run in runs {
        for (i, &(epoch, value)) in run.iter().enumerate() {
            let command = if i == 0 { 'M' } else { 'L' };
            let (x, y) = (epochs.x(epoch), height(axis.place(value)));
            let _ = write!(path, "{command}{x:.1} {y:.1}");
        }
        if let Some(&(epoch, last)) = run.last() {
            let (x, y) = (epochs.x(epoch), height(axis.place(last)));
            let said = format!("{}, epoch {epoch}: {}", series.name, value(last, unit));
            let said = escape(&said);
            let _ = write!(
                dots,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"><title>{said}</title></circle>"
            );
        }
    }
    let dashed = if series.dashed { " dashed" } else { "" };
    let (color, name) = (series.color, escape(&series.name));
    format!(
        "<g class=\"c{color}{dashed}\"><path class=\"line\" d=\"{path}\"><title>{name}</title></path>{dots}</g>"
    )
}

impl Stack {
    /// The chart as an HTML figure.
    pub fn html(&self) -> String {
        let epochs = Epochs::around(self.epochs.iter().copied());
        let axis = Axis::around([0.0, 1.0].into_iter(), Unit::Percent);
        let mut below = vec![0.0; self.epochs.len()];
        let mut areas = String::new();
        for layer in &self.layers {
            let above: Vec<f64> = (below.iter().enumerate())
                .map(|(i, below)| {
                    let value = layer.values.get(i).copied().unwrap_or(0.0);
                    below + if drawable(value) { value.max(0.0) } else { 0.0 }
                })
                .collect();
            let path = band(&self.epochs, &below, &above, &epochs);
            let (color, name) = (layer.color, escape(&layer.name));
            let _ = write!(
                areas,
                "<path class=\"area c{color}\" d=\"{path}\"><title>{name}</title></path>"
            );
            below = above;
        }
        let legend = self.layers.iter().map(|layer| {
            let last = layer.values.last().filter(|value| drawable(**value));
            let last = last.map_or(String::new(), |last| value(*last, Unit::Percent));
            (layer.name.as_str(), layer.color, false, last)
        });
        // The areas first: the grid stays visible on them.
        let svg = areas + &frame(&epochs, &axis);
        figure(&self.title, legend, &svg, self.epochs.is_empty())
    }
}

/// The outline between two staircases: each epoch's step reaches to the next epoch's.
fn band(at: &[f64], below: &[f64], above: &[f64], epochs: &Epochs) -> String {
    let edge = |i: usize| match at.get(i) {
        Some(epoch) => epochs.x(epoch - 0.5),
        None => epochs.x(epochs.last + 0.5),
    };
    let mut path = String::new();
    for (i, level) in above.iter().enumerate() {
        let (start, y, end) = (edge(i), height(*level), edge(i + 1));
        let command = if i == 0 { 'M' } else { 'L' };
        let _ = write!(path, "{command}{start:.1} {y:.1}H{end:.1}");
    }
    for (i, level) in below.iter().enumerate().rev() {
        let (end, y, start) = (edge(i + 1), height(*level), edge(i));
        let _ = write!(path, "L{end:.1} {y:.1}H{start:.1}");
    }
    if !path.is_empty() {
        path.push('Z');
    }
    path
}

/// Grid, ticks and labels of both axes.
fn frame(epochs: &Epochs, axis: &Axis) -> String {
    let mut svg = String::new();
    for (place, label) in axis.ticks() {
        let (y, text_y, text_x) = (height(place), height(place) + 4.0, LEFT - 7.0);
        let _ = write!(
            svg,
            "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/>\
             <text class=\"tick\" text-anchor=\"end\" x=\"{text_x}\" y=\"{text_y:.1}\">{label}</text>"
        );
    }
    for epoch in epoch_ticks(epochs.first, epochs.last) {
        let (x, end, text_y) = (epochs.x(epoch), BOTTOM + 4.0, BOTTOM + 17.0);
        let _ = write!(
            svg,
            "<path class=\"axis\" d=\"M{x:.1} {BOTTOM}V{end}\"/>\
             <text class=\"tick\" text-anchor=\"middle\" x=\"{x:.1}\" y=\"{text_y}\">{epoch}</text>"
        );
    }
    let (middle, text_y) = ((LEFT + RIGHT) / 2.0, HEIGHT - 3.0);
    let _ = write!(
        svg,
        "<path class=\"axis\" d=\"M{LEFT} {BOTTOM}H{RIGHT}\"/>\
         <text class=\"tick\" text-anchor=\"middle\" x=\"{middle}\" y=\"{text_y}\">epoch</text>"
    );
    svg
}

/// Caption, legend (name, color, dashed, last value) and drawing.
fn figure<'a>(
    title: &str,
    legend: impl Iterator<Item = (&'a str, usize, bool, String)>,
    svg: &str,
    empty: bool,
) -> String {
    let title = escape(title);
    if empty {
        return format!(
            "<figure><figcaption>{title}</figcaption><p class=\"empty\">Nothing measured yet.</p></figure>\n"
        );
    }
    let entries: String = legend
        .map(|(name, color, dashed, value)| {
            let dashed = if dashed { " dashed" } else { "" };
            let name = escape(name);
            format!("<li><i class=\"c{color}{dashed}\"></i>{name} <b>{value}</b></li>")
        })
        .collect();
    format!(
        "<figure><figcaption>{title}</figcaption><ul class=\"legend\">{entries}</ul>\
         <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">{svg}</svg></figure>\n"
    )
}

fn value(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Percent => percent(value),
        Unit::Number => short(value),
    }
}

#[cfg(test)]
mod tests;

//! SVG charts over epochs or named values, with a legend. Colors are classes that the page's style resolves, so
//! that a chart suits light and dark pages.

mod horizontal;

use std::fmt::Write;

use maud::{Markup, Render, html};

pub use self::horizontal::Horizontal;
use self::horizontal::HorizontalAxis;
use super::{
    axis::{Axis, Unit, drawable},
    format::{percent, short},
};

/// A quantity over the horizontal axis.
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Color of the palette.
    pub color: usize,
    /// Whether its line is dashed.
    pub dashed: bool,
    /// (place on the horizontal axis, value), places rising; a value that is not finite leaves a gap.
    pub points: Vec<(f64, f64)>,
}

/// Lines over epochs or named values.
pub struct LineChart {
    /// What the chart shows.
    pub title: String,
    /// Its horizontal axis.
    pub horizontal: Horizontal,
    /// Unit of the values.
    pub unit: Unit,
    /// The lines; those without points are left out.
    pub series: Vec<Series>,
    /// An epoch to mark, the best one.
    pub marked: Option<f64>,
}

/// Parts of a whole over epochs, stacked from the bottom.
pub struct StackedChart {
    /// What the chart shows.
    pub title: String,
    /// The epochs, rising.
    pub epochs: Vec<f64>,
    /// The parts: fractions in `[0,1]`, one value for each epoch.
    pub bands: Vec<Band>,
}

/// One part of a whole.
pub struct Band {
    /// Its name in the legend.
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

/// The y coordinate of a position on the vertical axis.
fn y(position: f64) -> f64 {
    BOTTOM - (BOTTOM - TOP) * position.clamp(0.0, 1.0)
}

impl Render for LineChart {
    fn render(&self) -> Markup {
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
        let places = HorizontalAxis::around(&self.horizontal, points().map(|p| p.0));
        let axis = Axis::around(points().map(|p| p.1), self.unit);
        let legend = drawn.iter().map(|s| {
            let last = s.points.iter().rev().find(|p| drawable(p.1));
            LegendEntry {
                name: &s.name,
                color: s.color,
                dashed: s.dashed,
                value: last.map_or(String::new(), |p| value_text(p.1, self.unit)),
            }
        });
        let svg = html! {
            (frame(&places, &axis))
            @if let Some(epoch) = self.marked.filter(|_| !drawn.is_empty()) {
                path.mark d=(format!("M{:.1} {TOP}V{BOTTOM}", places.x(epoch))) {
                    title { "best: " (places.words(epoch)) }
                }
            }
            @for series in &drawn { (line(series, &places, &axis, self.unit)) }
        };
        figure(&self.title, legend, &svg, drawn.is_empty())
    }
}

/// One line, with a dot at the end of each part without gaps, so that a single point shows.
fn line(series: &Series, places: &HorizontalAxis, axis: &Axis, unit: Unit) -> Markup {
    let mut path = String::new();
    let mut ends = Vec::new();
    let parts = series.points.split(|p| !drawable(p.1));
    for part in parts.filter(|part| !part.is_empty()) {
        for (i, &(place, value)) in part.iter().enumerate() {
            let command = if i == 0 { 'M' } else { 'L' };
            let (x, y) = (places.x(place), y(axis.position(value)));
            // Writing to a string cannot fail.
            let _ = write!(path, "{command}{x:.1} {y:.1}");
        }
        ends.extend(part.last());
    }
    html! {
        g class={ "c" (series.color) @if series.dashed { " dashed" } } {
            path.line d=(path) { title { (series.name) } }
            @for &(place, value) in &ends {
                @let (x, y) = (places.x(place), y(axis.position(value)));
                circle cx=(format!("{x:.1}")) cy=(format!("{y:.1}")) r="3" {
                    title { (series.name) ", " (places.words(place)) ": " (value_text(value, unit)) }
                }
            }
        }
    }
}

impl Render for StackedChart {
    fn render(&self) -> Markup {
        let epochs = HorizontalAxis::around(&Horizontal::Epochs, self.epochs.iter().copied());
        let axis = Axis::around([0.0, 1.0].into_iter(), Unit::Percent);
        let mut below = vec![0.0; self.epochs.len()];
        let mut outlines = Vec::new();
        for band in &self.bands {
            let above: Vec<f64> = (below.iter().enumerate())
                .map(|(i, below)| {
                    let value = band.values.get(i).copied().unwrap_or(0.0);
                    below + if drawable(value) { value.max(0.0) } else { 0.0 }
                })
                .collect();
            outlines.push(outline(&self.epochs, &below, &above, &epochs));
            below = above;
        }
        let legend = self.bands.iter().map(|band| {
            let last = band.values.last().filter(|value| drawable(**value));
            LegendEntry {
                name: &band.name,
                color: band.color,
                dashed: false,
                value: last.map_or(String::new(), |last| value_text(*last, Unit::Percent)),
            }
        });
        // The areas first: the grid stays visible on them.
        let svg = html! {
            @for (band, outline) in self.bands.iter().zip(&outlines) {
                path class={ "area c" (band.color) } d=(outline) { title { (band.name) } }
            }
            (frame(&epochs, &axis))
        };
        figure(&self.title, legend, &svg, self.epochs.is_empty())
    }
}

/// The outline between two staircases: each epoch's step reaches to the next epoch's.
fn outline(at: &[f64], below: &[f64], above: &[f64], epochs: &HorizontalAxis) -> String {
    let edge = |i: usize| match at.get(i) {
        Some(epoch) => epochs.x(epoch - 0.5),
        None => epochs.end(),
    };
    let mut path = String::new();
    for (i, level) in above.iter().enumerate() {
        let (start, y, end) = (edge(i), y(*level), edge(i + 1));
        let command = if i == 0 { 'M' } else { 'L' };
        let _ = write!(path, "{command}{start:.1} {y:.1}H{end:.1}");
    }
    for (i, level) in below.iter().enumerate().rev() {
        let (end, y, start) = (edge(i + 1), y(*level), edge(i));
        let _ = write!(path, "L{end:.1} {y:.1}H{start:.1}");
    }
    if !path.is_empty() {
        path.push('Z');
    }
    path
}

/// Grid, ticks and labels of both axes.
fn frame(places: &HorizontalAxis, axis: &Axis) -> Markup {
    html! {
        @for (position, label) in axis.ticks() {
            @let y = y(position);
            path.grid d=(format!("M{LEFT} {y:.1}H{RIGHT}")) {}
            text.tick text-anchor="end" x=(LEFT - 7.0) y=(format!("{:.1}", y + 4.0)) { (label) }
        }
        @for (place, label) in places.ticks() {
            @let x = format!("{:.1}", places.x(place));
            path.axis d=(format!("M{x} {BOTTOM}V{}", BOTTOM + 4.0)) {}
            text.tick text-anchor="middle" x=(x) y=(BOTTOM + 17.0) { (label) }
        }
        path.axis d=(format!("M{LEFT} {BOTTOM}H{RIGHT}")) {}
        text.tick text-anchor="middle" x=((LEFT + RIGHT) / 2.0) y=(HEIGHT - 3.0) { (places.title()) }
    }
}

/// A name of the legend, with the last value.
struct LegendEntry<'a> {
    name: &'a str,
    color: usize,
    dashed: bool,
    value: String,
}

/// Caption, legend and drawing.
fn figure<'a>(
    title: &str,
    legend: impl Iterator<Item = LegendEntry<'a>>,
    svg: &Markup,
    empty: bool,
) -> Markup {
    html! {
        figure {
            figcaption { (title) }
            @if empty {
                p.empty { "Nothing measured yet." }
            } @else {
                ul.legend {
                    @for LegendEntry { name, color, dashed, value } in legend {
                        li {
                            i class={ "c" (color) @if dashed { " dashed" } } {}
                            (name) " " b { (value) }
                        }
                    }
                }
                svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(title) { (svg) }
            }
        }
    }
}

fn value_text(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Percent => percent(value),
        Unit::Number => short(value),
    }
}

#[cfg(test)]
mod tests;

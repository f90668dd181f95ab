//! Synthetic image as a function of seed, index and label.
//!
//! Ten classes of shapes and textures on colored gradients among faint distractors and noise. Contrast is moderate
//! so that a narrow model learns the set in a few epochs and the small steps of the attacks still change its
//! predictions.

use std::f64::consts::{FRAC_PI_4, TAU};

use crate::{IMAGE_BYTES, IMAGE_SIDE};
use base::random::Stream;

/// Class names, by label.
pub const SHAPES: [&str; 10] = [
    "disc",
    "ring",
    "square",
    "triangle",
    "cross",
    "horizontal stripes",
    "vertical stripes",
    "diagonal stripes",
    "checkerboard",
    "dots",
];

type Color = [f64; 3];

/// The image of `(seed, index)` for a label 0 to 9 (a larger one is taken modulo 10):
/// [`IMAGE_BYTES`] bytes, planar R, G, B.
pub fn draw(seed: u64, index: u64, label: u8) -> Vec<u8> {
    let class = usize::from(label) % SHAPES.len();
    let mut stream = Stream::new(seed, "synthetic", &[index, class as u64]);
    let background = Background::random(&mut stream);
    let contrast = stream.between(0.4, 0.75);
    let ink = direction(&mut stream).map(|part| contrast * part);
    let distractors: Vec<Distractor> = (0..stream.below(4))
        .map(|_| Distractor::random(&mut stream, contrast))
        .collect();
    let figure = Figure::random(&mut stream, class);
    let grain = stream.between(0.01, 0.025);

    let mut pixels = vec![0; IMAGE_BYTES];
    for pixel in 0..IMAGE_SIDE * IMAGE_SIDE {
        let (x, y) = ((pixel % IMAGE_SIDE) as f64, (pixel / IMAGE_SIDE) as f64);
        let mut color = background.at(x, y);
        for distractor in &distractors {
            distractor.paint(&mut color, x, y);
        }
        add(&mut color, ink, figure.coverage(x, y));
        for (channel, value) in color.iter().enumerate() {
            let level = 255.0 * (value + grain * stream.normal());
            pixels[channel * IMAGE_SIDE * IMAGE_SIDE + pixel] =
                level.round().clamp(0.0, 255.0) as u8;
        }
    }
    pixels
}

/// A base color, a linear gradient and one soft cloud.
struct Background {
    base: Color,
    slope: (f64, f64),
    gradient: Color,
    cloud: (f64, f64, f64),
    cloud_color: Color,
}

impl Background {
    fn random(stream: &mut Stream) -> Self {
        let angle = TAU * stream.uniform();
        Self {
            base: [(); 3].map(|()| stream.between(0.3, 0.7)),
            slope: (
                angle.cos() / IMAGE_SIDE as f64,
                angle.sin() / IMAGE_SIDE as f64,
            ),
            gradient: direction(stream).map(|part| 0.25 * part),
            cloud: (
                stream.between(0.0, 31.0),
                stream.between(0.0, 31.0),
                stream.between(5.0, 10.0),
            ),
            cloud_color: direction(stream).map(|part| 0.15 * part),
        }
    }

    fn at(&self, x: f64, y: f64) -> Color {
        let mut color = self.base;
        let along = (x - 15.5) * self.slope.0 + (y - 15.5) * self.slope.1;
        add(&mut color, self.gradient, along);
        let (cx, cy, radius) = self.cloud;
        let distance = (x - cx).hypot(y - cy) / radius;
        add(&mut color, self.cloud_color, (-distance * distance).exp());
        color
    }
}

/// A short faint line or speck, independent of the class.
struct Distractor {
    from: (f64, f64),
    to: (f64, f64),
    width: f64,
    color: Color,
}

impl Distractor {
    fn random(stream: &mut Stream, contrast: f64) -> Self {
        let (x, y) = (stream.between(0.0, 31.0), stream.between(0.0, 31.0));
        let (angle, length) = (TAU * stream.uniform(), stream.between(0.0, 8.0));
        Self {
            from: (x, y),
            to: (x + length * angle.cos(), y + length * angle.sin()),
            width: stream.between(0.4, 0.9),
            color: direction(stream).map(|part| 0.4 * contrast * part),
        }
    }

    fn paint(&self, color: &mut Color, x: f64, y: f64) {
        let distance = to_segment((x, y), self.from, self.to) - self.width;
        add(color, self.color, inside(distance));
    }
}

/// The shape or the patch of texture that defines the class.
struct Figure {
    class: usize,
    center: (f64, f64),
    cosine: f64,
    sine: f64,
    /// Half the size of a shape, or the radius of a texture's window.
    radius: f64,
    /// Half the width of a line, as pixels.
    line: f64,
    /// Pixels from stripe to stripe.
    period: f64,
    phase: f64,
    /// Centers and radii in the window's units, of the last class only.
    dots: Vec<(f64, f64, f64)>,
}

impl Figure {
    fn random(stream: &mut Stream, class: usize) -> Self {
        let texture = (5..9).contains(&class);
        let tilt = match class {
            // Stripes and squares are named by their direction, so they tilt only a little.
            5 | 6 | 8 => stream.between(-0.12, 0.12),
            7 if stream.chance(0.5) => FRAC_PI_4 + stream.between(-0.12, 0.12),
            7 => -FRAC_PI_4 + stream.between(-0.12, 0.12),
            _ => stream.between(-0.35, 0.35),
        };
        let radius = match class {
            _ if texture => stream.between(11.0, 14.5),
            0 | 4 => stream.between(7.0, 10.0),
            _ => stream.between(8.0, 11.0),
        };
        let roam = (15.5 - radius).clamp(1.5, 3.0);
        let dots = if class == 9 { dots(stream) } else { Vec::new() };
        Self {
            class,
            center: (
                15.5 + stream.between(-roam, roam),
                15.5 + stream.between(-roam, roam),
            ),
            cosine: tilt.cos(),
            sine: tilt.sin(),
            radius,
            line: stream.between(0.9, 1.6),
            period: stream.between(4.5, 7.0),
            phase: TAU * stream.uniform(),
            dots,
        }
    }

    /// How much of the pixel the figure covers, 0 to 1.
    fn coverage(&self, x: f64, y: f64) -> f64 {
        let (x, y) = (x - self.center.0, y - self.center.1);
        let (u, v) = (
            self.cosine * x + self.sine * y,
            self.cosine * y - self.sine * x,
        );
        let r = self.radius;
        let wave = |along: f64| (TAU * along / self.period + self.phase).sin();
        match self.class {
            0 => inside(u.hypot(v) - r),
            1 => inside((u.hypot(v) - r).abs() - self.line),
            2 => inside((u.abs().max(v.abs()) - 0.85 * r).abs() - self.line),
            3 => inside((0.866 * u.abs() + 0.5 * v).max(-v) - 0.55 * r),
            4 => inside((u.abs().max(v.abs()) - r).max(u.abs().min(v.abs()) - 1.2 * self.line)),
            5 => self.window(u, v) * soft(wave(v)),
            6 | 7 => self.window(u, v) * soft(wave(u)),
            8 => self.window(u, v) * soft(2.0 * wave(0.55 * u) * wave(0.55 * v)),
            _ => (self.dots.iter())
                .map(|&(du, dv, size)| inside((u - r * du).hypot(v - r * dv) - size))
                .fold(0.0, f64::max),
        }
    }

    /// The round window of a texture, with a soft edge.
    fn window(&self, u: f64, v: f64) -> f64 {
        inside((u.hypot(v) - self.radius) / 2.0)
    }
}

/// Five to eight small dots in a unit disc that do not touch each other.
fn dots(stream: &mut Stream) -> Vec<(f64, f64, f64)> {
    let wanted = 5 + stream.below(4);
    let mut dots: Vec<(f64, f64, f64)> = Vec::new();
    // A fixed number of tries: a crowded disc keeps the dots that fit.
    for _ in 0..60 {
        let (angle, distance) = (TAU * stream.uniform(), 1.1 * stream.uniform().sqrt());
        let (u, v) = (distance * angle.cos(), distance * angle.sin());
        let apart = |&(a, b, _): &(f64, f64, f64)| (a - u).hypot(b - v) > 0.55;
        if dots.len() < wanted && dots.iter().all(apart) {
            dots.push((u, v, stream.between(1.2, 1.9)));
        }
    }
    dots
}

/// A random direction in color space, of length 1.
fn direction(stream: &mut Stream) -> Color {
    let color = [(); 3].map(|()| stream.normal());
    let length = color.iter().map(|part| part * part).sum::<f64>().sqrt();
    color.map(|part| part / length.max(1e-9))
}

fn add(color: &mut Color, ink: Color, amount: f64) {
    for (value, part) in color.iter_mut().zip(ink) {
        *value += amount * part;
    }
}

/// Coverage of a pixel whose center lies `distance` outside an edge: anti-aliasing.
fn inside(distance: f64) -> f64 {
    (0.5 - distance).clamp(0.0, 1.0)
}

/// A wave between -1 and 1 as coverage, steeper than a sine.
fn soft(wave: f64) -> f64 {
    (0.5 + wave).clamp(0.0, 1.0)
}

fn to_segment(point: (f64, f64), from: (f64, f64), to: (f64, f64)) -> f64 {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let (px, py) = (point.0 - from.0, point.1 - from.1);
    let along = ((px * dx + py * dy) / (dx * dx + dy * dy).max(1e-9)).clamp(0.0, 1.0);
    (px - along * dx).hypot(py - along * dy)
}

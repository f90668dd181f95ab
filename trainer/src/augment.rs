//! Augmentation of training pictures: the bytes of one picture and a stream of random numbers
//! come in, floats in `[0,1]` go out, cropped and perhaps mirrored. Crop and resize follow
//! torchvision (`RandomResizedCrop`, `RandomCrop`, `RandomHorizontalFlip`) in what they draw and
//! in which order.

use std::{array::from_fn, fmt, ops::Range, str::FromStr};

use serde::{Deserialize, Serialize};
use shared::{cifar10::PIXELS, random::Stream};

/// Pixels along an edge.
const SIDE: usize = 32;

/// How often a resized crop is drawn anew before the centre is taken.
const TRIES: usize = 10;

/// What is done to a training picture.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Augment {
    /// Which part is shown.
    pub crop: Crop,
    /// Whether half the pictures are mirrored, left to right.
    pub flip: bool,
}

/// Which part of a picture is shown.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Crop {
    /// All of it.
    None,
    /// 32x32 pixels anywhere in the picture with this many zeros on each side.
    Pad(usize),
    /// A random rectangle, resized (bilinear, half-pixel centres) to the whole.
    Resized {
        /// Its share of the area, uniform between the two.
        scale: (f64, f64),
        /// Its width over its height, log-uniform between the two.
        ratio: (f64, f64),
    },
}

/// The augmentations that have a name, for the command line.
const NAMED: [(&str, Augment); 3] = [
    (
        "none",
        Augment {
            crop: Crop::None,
            flip: false,
        },
    ),
    (
        "pad",
        Augment {
            crop: Crop::Pad(4),
            flip: true,
        },
    ),
    (
        "resized",
        Augment {
            crop: Crop::Resized {
                scale: (0.45, 1.0),
                ratio: (3.0 / 4.0, 4.0 / 3.0),
            },
            flip: true,
        },
    ),
];

impl FromStr for Augment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = NAMED.iter().find(|(name, _)| *name == text);
        named
            .map(|(_, augment)| *augment)
            .ok_or_else(|| format!("'{text}' is none of none, pad, resized"))
    }
}

impl fmt::Display for Augment {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match NAMED.iter().find(|(_, augment)| augment == self) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "{self:?}"),
        }
    }
}

impl Augment {
    /// Writes the augmented picture: `pixels` are 3x32x32 planar bytes, `out` as many floats.
    ///
    /// # Panics
    /// When either is not [`PIXELS`] long.
    pub fn apply(&self, pixels: &[u8], out: &mut [f32], stream: &mut Stream) {
        assert_eq!((pixels.len(), out.len()), (PIXELS, PIXELS));
        match self.crop {
            Crop::None => to_floats(pixels, out),
            Crop::Pad(zeros) => {
                let top = stream.below(2 * zeros + 1);
                let left = stream.below(2 * zeros + 1);
                shift(pixels, out, zeros, top, left);
            }
            Crop::Resized { scale, ratio } => {
                let part = Rectangle::draw(scale, ratio, stream);
                part.resize(pixels, out);
            }
        }
        if self.flip && stream.chance(0.5) {
            out.chunks_exact_mut(SIDE).for_each(<[f32]>::reverse);
        }
    }
}

fn to_floats(pixels: &[u8], out: &mut [f32]) {
    for (float, byte) in out.iter_mut().zip(pixels) {
        *float = f32::from(*byte) / 255.0;
    }
}

/// The window at (`top`, `left`) of the picture with `zeros` around it.
fn shift(pixels: &[u8], out: &mut [f32], zeros: usize, top: usize, left: usize) {
    out.fill(0.0);
    // What the window and the picture share, from both sides.
    let overlap = |start: usize| -> (Range<usize>, usize) {
        let first = start.saturating_sub(zeros).min(SIDE);
        let end = (start + SIDE).saturating_sub(zeros).min(SIDE);
        (first..end.max(first), zeros.saturating_sub(start).min(SIDE))
    };
    let ((rows, row_out), (columns, column_out)) = (overlap(top), overlap(left));
    for (plane, plane_out) in planes(pixels).zip(out.chunks_exact_mut(SIDE * SIDE)) {
        for (i, row) in rows.clone().enumerate() {
            let from = &plane[row * SIDE..][columns.clone()];
            let to = &mut plane_out[(row_out + i) * SIDE + column_out..];
            to_floats(from, &mut to[..from.len()]);
        }
    }
}

fn planes(pixels: &[u8]) -> std::slice::ChunksExact<'_, u8> {
    pixels.chunks_exact(SIDE * SIDE)
}

/// A part of a picture, in whole pixels, inside it and not empty.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rectangle {
    top: usize,
    left: usize,
    height: usize,
    width: usize,
}

impl Rectangle {
    /// torchvision's `RandomResizedCrop.get_params`.
    fn draw(scale: (f64, f64), ratio: (f64, f64), stream: &mut Stream) -> Self {
        // Python rounds halves to even.
        let whole = |x: f64| x.round_ties_even() as usize;
        for _ in 0..TRIES {
            let area = (SIDE * SIDE) as f64 * stream.between(scale.0, scale.1);
            let ratio = stream.between(ratio.0.ln(), ratio.1.ln()).exp();
            let (width, height) = (whole((area * ratio).sqrt()), whole((area / ratio).sqrt()));
            if (1..=SIDE).contains(&width) && (1..=SIDE).contains(&height) {
                return Self {
                    top: stream.below(SIDE - height + 1),
                    left: stream.below(SIDE - width + 1),
                    height,
                    width,
                };
            }
        }
        // The largest centred part whose ratio is allowed.
        let side = SIDE as f64;
        let height = whole(side / ratio.0.max(1.0)).clamp(1, SIDE);
        let width = whole(side * ratio.1.min(1.0)).clamp(1, SIDE);
        Self {
            top: (SIDE - height) / 2,
            left: (SIDE - width) / 2,
            height,
            width,
        }
    }

    /// Bilinear interpolation of this part to 32x32 (`align_corners=False`): along rows first,
    /// then along columns, in units of bytes, where no rounding leaves `[0,255]`.
    fn resize(self, pixels: &[u8], out: &mut [f32]) {
        let (columns, rows) = (taps(self.width), taps(self.height));
        let mut wide = [[0.0f32; SIDE]; SIDE];
        for (plane, plane_out) in planes(pixels).zip(out.chunks_exact_mut(SIDE * SIDE)) {
            for (row, wide) in wide.iter_mut().take(self.height).enumerate() {
                let row = &plane[(self.top + row) * SIDE + self.left..][..self.width];
                for (float, tap) in wide.iter_mut().zip(&columns) {
                    *float = tap.blend(f32::from(row[tap.first]), f32::from(row[tap.second]));
                }
            }
            for (row_out, tap) in plane_out.chunks_exact_mut(SIDE).zip(&rows) {
                let (above, below) = (&wide[tap.first], &wide[tap.second]);
                for ((float, a), b) in row_out.iter_mut().zip(above).zip(below) {
                    *float = tap.blend(*a, *b) / 255.0;
                }
            }
        }
    }
}

/// Which two neighbours make an interpolated value, and the second one's weight.
struct Tap {
    first: usize,
    second: usize,
    weight: f32,
}

impl Tap {
    fn blend(&self, first: f32, second: f32) -> f32 {
        first + self.weight * (second - first)
    }
}

/// The taps that stretch `length` pixels (at most 32) to 32.
fn taps(length: usize) -> [Tap; SIDE] {
    from_fn(|i| {
        let place = (i as f32 + 0.5) * (length as f32 / SIDE as f32) - 0.5;
        let place = place.max(0.0);
        let first = place as usize;
        Tap {
            first,
            second: (first + 1).min(length - 1),
            weight: place - first as f32,
        }
    })
}

#[cfg(test)]
mod tests;

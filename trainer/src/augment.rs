//! Augmentation of training pictures: the bytes of one picture and a stream of random numbers
//! come in, floats in [0,1] go out, cropped and perhaps mirrored. Crop and resize follow
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
    /// then along columns, in units of bytes, where no rounding leaves [0,255].
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn picture(seed: u64) -> Vec<u8> {
        let mut stream = Stream::new(seed, "picture", &[]);
        (0..PIXELS).map(|_| stream.below(256) as u8).collect()
    }

    fn apply(augment: Augment, pixels: &[u8], stream: &mut Stream) -> Vec<f32> {
        let mut out = vec![f32::NAN; PIXELS];
        augment.apply(pixels, &mut out, stream);
        out
    }

    fn floats(pixels: &[u8]) -> Vec<f32> {
        pixels.iter().map(|&byte| f32::from(byte) / 255.0).collect()
    }

    #[test]
    fn no_crop_and_a_whole_crop_are_exact() {
        let pixels = picture(1);
        let whole = Crop::Resized {
            scale: (1.0, 1.0),
            ratio: (1.0, 1.0),
        };
        for crop in [Crop::None, Crop::Pad(0), whole] {
            let augment = Augment { crop, flip: false };
            let out = apply(augment, &pixels, &mut Stream::new(2, "augment", &[]));
            assert_eq!(out, floats(&pixels), "{crop:?}");
        }
    }

    // import torch
    // x = torch.tensor([[[[0., 100., 255.], [50., 200., 10.]]]]) / 255
    // y = torch.nn.functional.interpolate(x, size=(32, 32), mode="bilinear", align_corners=False)[0, 0]
    // for r, c in ((0, 0), (5, 9), (8, 16), (15, 15), (16, 20), (20, 3), (23, 27), (31, 31)):
    //     print(f"({r}, {c}, {y[r, c].item():.7f}),")
    #[test]
    fn resizing_equals_pytorch() {
        let expected = [
            (0, 0, 0.0000000),
            (5, 9, 0.1531863),
            (8, 16, 0.4309226),
            (15, 15, 0.5532897),
            (16, 20, 0.5537013),
            (20, 3, 0.1531863),
            (23, 27, 0.0692402),
            (31, 31, 0.0392157),
        ];
        let (top, left, height, width) = (7, 29, 2, 3);
        let mut pixels = picture(3);
        for plane in 0..3 {
            let at = |row, column| plane * SIDE * SIDE + (top + row) * SIDE + left + column;
            pixels[at(0, 0)..=at(0, 2)].copy_from_slice(&[0, 100, 255]);
            pixels[at(1, 0)..=at(1, 2)].copy_from_slice(&[50, 200, 10]);
        }
        let mut out = vec![f32::NAN; PIXELS];
        let part = Rectangle {
            top,
            left,
            height,
            width,
        };
        part.resize(&pixels, &mut out);
        for plane in out.chunks_exact(SIDE * SIDE) {
            for (row, column, value) in expected {
                let found: f32 = plane[row * SIDE + column];
                assert!(
                    (found - value).abs() < 1e-6,
                    "({row}, {column}): {found} {value}"
                );
            }
        }
    }

    #[test]
    fn padded_crops_show_every_offset_of_the_picture_with_zeros_around() {
        let pixels = picture(4);
        let mut seen = std::collections::BTreeSet::new();
        let augment = Augment {
            crop: Crop::Pad(4),
            flip: false,
        };
        let mut stream = Stream::new(5, "augment", &[]);
        for _ in 0..2000 {
            let mut replay = stream.clone();
            let (top, left) = (replay.below(9), replay.below(9));
            let out = apply(augment, &pixels, &mut stream);
            seen.insert((top, left));
            for (i, &float) in out.iter().enumerate() {
                let (plane, row, column) = (i / 1024, i / 32 % 32 + top, i % 32 + left);
                let inside = (4..36).contains(&row) && (4..36).contains(&column);
                let expected = match inside {
                    true => f32::from(pixels[plane * 1024 + (row - 4) * 32 + column - 4]) / 255.0,
                    false => 0.0,
                };
                assert_eq!(float, expected);
            }
        }
        assert_eq!(seen.len(), 81);
    }

    #[test]
    fn half_the_pictures_are_mirrored() {
        let pixels = picture(6);
        let plain = floats(&pixels);
        let mut mirrored = plain.clone();
        mirrored.chunks_exact_mut(32).for_each(<[f32]>::reverse);
        let augment = Augment {
            crop: Crop::None,
            flip: true,
        };
        let mut flips = 0;
        for id in 0..1000 {
            let out = apply(augment, &pixels, &mut Stream::new(7, "augment", &[id]));
            assert!(out == plain || out == mirrored);
            flips += u32::from(out == mirrored);
        }
        assert!((450..550).contains(&flips), "{flips}");
    }

    #[test]
    fn resized_crops_have_the_asked_area_and_ratio_and_fall_back_to_the_centre() {
        let mut stream = Stream::new(8, "augment", &[]);
        let mut area = 0.0;
        for _ in 0..5000 {
            let part = Rectangle::draw((0.45, 1.0), (0.75, 4.0 / 3.0), &mut stream);
            let (h, w) = (part.height as f64, part.width as f64);
            assert!(part.top + part.height <= 32 && part.left + part.width <= 32);
            // Half a pixel of rounding on each side.
            assert!((h + 0.5) * (w + 0.5) >= 0.45 * 1024.0);
            assert!((w + 0.5) / (h - 0.5) >= 0.75 && (w - 0.5) / (h + 0.5) <= 4.0 / 3.0);
            area += h * w / 1024.0 / 5000.0;
        }
        // Uniform in 0.45..1 would be 0.725; the largest are refused where they do not fit.
        assert!((0.66..0.725).contains(&area), "{area}");

        let wide = Rectangle::draw((1.0, 1.0), (2.0, 3.0), &mut stream);
        let (top, left, height, width) = (8, 0, 16, 32);
        let expected = Rectangle {
            top,
            left,
            height,
            width,
        };
        assert_eq!(wide, expected);
    }

    #[test]
    fn names_are_read_back_as_they_are_printed() {
        for (name, augment) in NAMED {
            assert_eq!(name.parse(), Ok(augment));
            assert_eq!(augment.to_string(), name);
            let text = toml::to_string(&augment).unwrap();
            assert_eq!(toml::from_str::<Augment>(&text).unwrap(), augment, "{text}");
        }
        assert!("crop".parse::<Augment>().is_err());
    }

    proptest! {
        #[test]
        fn the_same_stream_gives_the_same_picture_in_range(seed: u64, id: u64, extreme: bool) {
            let mut pixels = picture(seed);
            if extreme {
                pixels.iter_mut().for_each(|byte| *byte = if *byte < 128 { 0 } else { 255 });
            }
            for (_, augment) in NAMED {
                let once = apply(augment, &pixels, &mut Stream::new(seed, "augment", &[id]));
                let again = apply(augment, &pixels, &mut Stream::new(seed, "augment", &[id]));
                prop_assert_eq!(&once, &again);
                prop_assert!(once.iter().all(|float| (0.0..=1.0).contains(float)));
            }
        }
    }
}

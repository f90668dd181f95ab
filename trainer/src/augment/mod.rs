//! Augmentation of training images: a stream of random numbers comes in, the window through which
//! an image is seen goes out. It follows torchvision (`RandomResizedCrop`, `RandomCrop`,
//! `RandomHorizontalFlip`) in what is drawn and in which order.

use std::{fmt, str::FromStr};

use base::random::Stream;
use nn::CropWindow;
use serde::{Deserialize, Serialize};

/// Pixels along an edge.
const SIDE: usize = 32;

/// How often a resized crop is drawn anew before the center is taken.
const TRIES: usize = 10;

/// What is done to a training image.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Augment {
    /// Which part is shown.
    pub crop: Crop,
    /// Whether half the images are mirrored, left to right.
    pub flip: bool,
}

/// Which part of an image is shown.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Crop {
    /// All of it.
    None,
    /// 32x32 pixels anywhere in the image with this many zeros on each side.
    Pad(usize),
    /// A random rectangle, resized (bilinear, half-pixel centers) to the whole.
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
    /// The window through which an image is seen this time.
    pub fn draw(&self, stream: &mut Stream) -> CropWindow {
        let window = match self.crop {
            Crop::None => CropWindow::WHOLE,
            Crop::Pad(zeros) => {
                let mut place = || stream.below(2 * zeros + 1) as i32 - zeros as i32;
                CropWindow {
                    top: place(),
                    left: place(),
                    ..CropWindow::WHOLE
                }
            }
            Crop::Resized { scale, ratio } => rectangle(scale, ratio, stream),
        };
        CropWindow {
            mirrored: self.flip && stream.chance(0.5),
            ..window
        }
    }
}

/// torchvision's `RandomResizedCrop.get_params`: a part inside the image.
fn rectangle(scale: (f64, f64), ratio: (f64, f64), stream: &mut Stream) -> CropWindow {
    // Python rounds halves to even.
    let whole = |x: f64| x.round_ties_even() as usize;
    for _ in 0..TRIES {
        let area = (SIDE * SIDE) as f64 * stream.between(scale.0, scale.1);
        let ratio = stream.between(ratio.0.ln(), ratio.1.ln()).exp();
        let (width, height) = (whole((area * ratio).sqrt()), whole((area / ratio).sqrt()));
        if (1..=SIDE).contains(&width) && (1..=SIDE).contains(&height) {
            return window(
                stream.below(SIDE - height + 1),
                stream.below(SIDE - width + 1),
                (height, width),
            );
        }
    }
    // The largest centerd part whose ratio is allowed.
    let side = SIDE as f64;
    let height = whole(side / ratio.0.max(1.0)).clamp(1, SIDE);
    let width = whole(side * ratio.1.min(1.0)).clamp(1, SIDE);
    window((SIDE - height) / 2, (SIDE - width) / 2, (height, width))
}

/// A window inside the image; all numbers are below 33.
fn window(top: usize, left: usize, (height, width): (usize, usize)) -> CropWindow {
    let [top, left, height, width] = [top, left, height, width].map(|length| length as i32);
    CropWindow {
        top,
        left,
        height,
        width,
        mirrored: false,
    }
}

#[cfg(test)]
mod tests;

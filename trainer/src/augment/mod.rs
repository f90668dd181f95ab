//! Data augmentation: random resized crop, padded crop and horizontal flip, drawn in the order of torchvision's
//! `RandomResizedCrop`, `RandomCrop` and `RandomHorizontalFlip`.

use std::{fmt, str::FromStr};

use base::{Error, random::Stream};
use nn::CropWindow;
use serde::{Deserialize, Serialize};

/// Height and width of an image.
const IMAGE_SIZE: usize = 32;

/// Draws of a resized crop before falling back to the center crop.
const MAX_TRIES: usize = 10;

/// Augmentation of a training image.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Augment {
    /// The crop.
    pub crop: Crop,
    /// Flip half the images left to right.
    pub flip: bool,
}

/// The part of an image that is used.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Crop {
    /// The whole image.
    None,
    /// A random 32x32 crop of the image padded with this many zeros on each side.
    Pad(usize),
    /// A random rectangle, resized (bilinear, half-pixel centers) to the whole.
    Resized {
        /// Its share of the area, uniform between the two.
        scale: (f64, f64),
        /// Its width over its height, log-uniform between the two.
        ratio: (f64, f64),
    },
}

/// Augmentations by their name on the command line.
const NAMED: [(&str, Augment); 3] = [
    (
        "none",
        Augment {
            crop: Crop::None,
            flip: false,
        },
    ),
    ("pad", Augment::PADDED),
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

impl Default for Augment {
    /// `resized`, as in the paper.
    fn default() -> Self {
        NAMED[2].1
    }
}

impl FromStr for Augment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = NAMED.iter().find(|(name, _)| *name == text);
        named.map(|(_, augment)| *augment).ok_or_else(|| {
            format!(
                "'{text}' is none of {}",
                NAMED.map(|(name, _)| name).join(", ")
            )
        })
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
    /// Checks ranges that no type has.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the setting, its value and its range.
    pub fn check(&self) -> base::Result<()> {
        let wrong = |found: String, expected: &str| {
            Err(Error::Usage(format!(
                "augment.crop: found {found}, expected {expected}"
            )))
        };
        let rises = |(low, high): (f64, f64)| low > 0.0 && low <= high && high.is_finite();
        match self.crop {
            Crop::Pad(zeros) if zeros > IMAGE_SIZE => {
                wrong(format!("pad {zeros}"), &format!("at most {IMAGE_SIZE}"))
            }
            Crop::Resized { scale, .. } if !rises(scale) || scale.1 > 1.0 => wrong(
                format!("scale {scale:?}"),
                "two shares of the area above 0, at most 1, in rising order",
            ),
            Crop::Resized { ratio, .. } if !rises(ratio) => wrong(
                format!("ratio {ratio:?}"),
                "two numbers above 0 in rising order",
            ),
            _ => Ok(()),
        }
    }

    /// `pad`: a random crop of the image padded with 4 zeros on each side, and flips.
    pub const PADDED: Self = Self {
        crop: Crop::Pad(4),
        flip: true,
    };

    /// A random window.
    pub fn draw(&self, stream: &mut Stream) -> CropWindow {
        let window = match self.crop {
            Crop::None => CropWindow::WHOLE,
            Crop::Pad(zeros) => {
                let mut offset = || stream.below(2 * zeros + 1) as i32 - zeros as i32;
                CropWindow {
                    top: offset(),
                    left: offset(),
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

/// torchvision's `RandomResizedCrop.get_params`: a rectangle inside the image.
fn rectangle(scale: (f64, f64), ratio: (f64, f64), stream: &mut Stream) -> CropWindow {
    // Python rounds halves to even.
    let whole = |x: f64| x.round_ties_even() as usize;
    for _ in 0..MAX_TRIES {
        let area = (IMAGE_SIZE * IMAGE_SIZE) as f64 * stream.between(scale.0, scale.1);
        let ratio = stream.between(ratio.0.ln(), ratio.1.ln()).exp();
        let (width, height) = (whole((area * ratio).sqrt()), whole((area / ratio).sqrt()));
        if (1..=IMAGE_SIZE).contains(&width) && (1..=IMAGE_SIZE).contains(&height) {
            return window(
                stream.below(IMAGE_SIZE - height + 1),
                stream.below(IMAGE_SIZE - width + 1),
                (height, width),
            );
        }
    }
    // The largest centered part whose ratio is allowed.
    let size = IMAGE_SIZE as f64;
    let height = whole(size / ratio.0.max(1.0)).clamp(1, IMAGE_SIZE);
    let width = whole(size * ratio.1.min(1.0)).clamp(1, IMAGE_SIZE);
    window(
        (IMAGE_SIZE - height) / 2,
        (IMAGE_SIZE - width) / 2,
        (height, width),
    )
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

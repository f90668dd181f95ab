//! Image corruptions of CIFAR-10-C (Hendrycks and Dietterich, "Benchmarking neural network robustness to common
//! corruptions and perturbations", ICLR 2019), five severities each.
//!
//! The table has all fifteen; eleven of them are computed here, with the arithmetic of the authors' `make_cifar_c.py`
//! and of the libraries it calls, to the same bytes. What follows from an image depends on its bytes, the severity and,
//! for the random ones, on the [`NoiseSource`].

mod brightness;
mod contrast;
mod defocus_blur;
mod fog;
mod gaussian_noise;
mod glass_blur;
mod impulse_noise;
mod jpeg_compression;
mod noise;
mod pixelate;
mod shot_noise;
#[cfg(test)]
mod tests;
mod zoom_blur;

use std::{fmt, str::FromStr};

use crate::{IMAGE_BYTES, interleaved, planar};

pub use noise::{KeyedNoise, NoiseSource};

/// A kind of corruption; one row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Corruption {
    /// Its name, and with `.npy` that of its file in CIFAR-10-C.
    pub name: &'static str,
    /// Its group.
    pub group: Group,
    /// How it is computed; none where that needs data or programs that are not part of the formula.
    pub computed: Option<Computed>,
}

/// The groups that the authors put corruptions in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Noise of single pixels. Training on Gaussian noise makes these no unseen corruptions.
    Noise,
    /// Blur.
    Blur,
    /// Weather.
    Weather,
    /// Digital processing.
    Digital,
}

const fn row(name: &'static str, group: Group, computed: Option<Computed>) -> Corruption {
    Corruption {
        name,
        group,
        computed,
    }
}

/// The corruptions of CIFAR-10-C in the order of the authors' tables: a new one is a row, and a file if it is computed.
#[rustfmt::skip]
pub static CORRUPTIONS: [Corruption; 15] = [
    row("gaussian_noise", Group::Noise, Some(Computed(gaussian_noise::apply))),
    row("shot_noise", Group::Noise, Some(Computed(shot_noise::apply))),
    row("impulse_noise", Group::Noise, Some(Computed(impulse_noise::apply))),
    row("defocus_blur", Group::Blur, Some(Computed(defocus_blur::apply))),
    row("glass_blur", Group::Blur, Some(Computed(glass_blur::apply))),
    row("motion_blur", Group::Blur, None),
    row("zoom_blur", Group::Blur, Some(Computed(zoom_blur::apply))),
    row("snow", Group::Weather, None),
    row("frost", Group::Weather, None),
    row("fog", Group::Weather, Some(Computed(fog::apply))),
    row("brightness", Group::Weather, Some(Computed(brightness::apply))),
    row("contrast", Group::Digital, Some(Computed(contrast::apply))),
    row("elastic_transform", Group::Digital, None),
    row("pixelate", Group::Digital, Some(Computed(pixelate::apply))),
    row("jpeg_compression", Group::Digital, Some(Computed(jpeg_compression::apply))),
];

impl Corruption {
    /// The corruption of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        CORRUPTIONS.iter().find(|row| row.name == name)
    }

    /// Those that are computed.
    pub fn all_computed() -> impl Iterator<Item = (&'static Self, Computed)> {
        CORRUPTIONS
            .iter()
            .filter_map(|row| Some((row, row.computed?)))
    }
}

/// A corruption of interleaved bytes, `32x32x3`, as the authors' program has them: the order in which random numbers
/// are drawn.
#[derive(Clone, Copy)]
pub struct Computed(fn(&[u8], Severity, &mut dyn NoiseSource) -> Vec<u8>);

impl Computed {
    /// The corrupted image of [`IMAGE_BYTES`] planar bytes, likewise planar.
    pub fn apply(self, pixels: &[u8], severity: Severity, noise: &mut dyn NoiseSource) -> Vec<u8> {
        debug_assert_eq!(pixels.len(), IMAGE_BYTES);
        planar(&(self.0)(&interleaved(pixels), severity, noise))
    }
}

impl fmt::Debug for Computed {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("Computed")
    }
}

/// How strong a corruption is, 1 to 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Severity(u8);

impl Severity {
    /// How many there are.
    pub const COUNT: usize = 5;

    /// Every severity, the weakest first.
    pub const ALL: [Self; Self::COUNT] = [Self(1), Self(2), Self(3), Self(4), Self(5)];

    /// The number, 1 to 5.
    pub fn number(self) -> u8 {
        self.0
    }

    /// The position in [`Self::ALL`].
    pub fn index(self) -> usize {
        usize::from(self.0) - 1
    }

    /// The parameter of this severity.
    fn of<T: Copy>(self, parameters: [T; Self::COUNT]) -> T {
        parameters[self.index()]
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for Severity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut all = Self::ALL.into_iter();
        let found = all.find(|severity| severity.0.to_string() == text);
        found.ok_or_else(|| "a severity is 1, 2, 3, 4 or 5".into())
    }
}

/// Floats in `[0,1]` of bytes.
fn floats(bytes: &[u8]) -> impl Iterator<Item = f64> {
    bytes.iter().map(|&byte| f64::from(byte) / 255.0)
}

/// The byte of a float in `[0,1]`: clipped, scaled by 255 and truncated, not rounded.
fn byte(float: f64) -> u8 {
    (float.clamp(0.0, 1.0) * 255.0) as u8
}

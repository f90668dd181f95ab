//! Input normalization, `(x - mean) / std` for each channel, as a model's first layer, before the first convolution
//! pads its input with zeros. Attacks and stores see pixels in `[0,1]`.

use std::str::FromStr;

use candle_core::{Device, Tensor};

use super::Metadata;
use crate::ops::channels_last::{channels_last, channels_last_backward};
use base::{Error, Result};

/// The metadata's keys.
const MEAN: &str = "mean";
const STD: &str = "std";

/// One number for each of R, G and B.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Channels(pub [f32; 3]);

impl FromStr for Channels {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let numbers = text.split(',').map(|number| number.trim().parse::<f32>());
        let numbers: Vec<f32> = numbers
            .collect::<std::result::Result<_, _>>()
            .unwrap_or_default();
        match <[f32; 3]>::try_from(numbers) {
            Ok(numbers) if numbers.iter().all(|number| number.is_finite()) => Ok(Self(numbers)),
            _ => Err(format!(
                "'{text}' is not three numbers R,G,B, such as 0.4914,0.4822,0.4465"
            )),
        }
    }
}

impl std::fmt::Display for Channels {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let [r, g, b] = self.0;
        write!(f, "{r},{g},{b}")
    }
}

/// Mean and standard deviation of each channel, in units of `[0,1]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalization {
    /// Subtracted from each channel.
    pub mean: Channels,
    /// What the difference is divided by; above 0.
    pub std: Channels,
}

impl Normalization {
    /// The normalization that a model's metadata state, if any.
    ///
    /// # Errors
    /// [`Error::Data`] when they hold one of `mean` and `std` alone, or values that are none; `what`
    /// names the file.
    pub fn from_metadata(what: &str, metadata: &Metadata) -> Result<Option<Self>> {
        let channels = |key: &str| {
            let parse = |text: &String| {
                let wrong = |_| {
                    Error::data(
                        format!("{what}: metadata {key}"),
                        text,
                        "three numbers R,G,B",
                    )
                };
                text.parse::<Channels>().map_err(wrong)
            };
            metadata.get(key).map(parse).transpose()
        };
        match (channels(MEAN)?, channels(STD)?) {
            (None, None) => Ok(None),
            (Some(mean), Some(std)) => Self { mean, std }.checked(what).map(Some),
            (mean, _) => {
                let found = if mean.is_some() {
                    "mean without std"
                } else {
                    "std without mean"
                };
                Err(Error::data(
                    format!("{what}: metadata"),
                    found,
                    "both or none",
                ))
            }
        }
    }

    /// `given`, or else what the metadata of the model `what` say.
    ///
    /// # Errors
    /// [`Error::Usage`] when the two contradict each other, and as [`Self::from_metadata`].
    pub fn resolve(given: Option<Self>, what: &str, metadata: &Metadata) -> Result<Option<Self>> {
        match (given, Self::from_metadata(what, metadata)?) {
            (Some(given), Some(kept)) if given != kept => Err(Error::Usage(format!(
                "{what}: its header says mean {} and std {}, --mean {} --std {} contradict it",
                kept.mean, kept.std, given.mean, given.std
            ))),
            (given, kept) => Ok(given.or(kept)),
        }
    }

    /// Writes it into a model's metadata.
    pub fn write(&self, metadata: &mut Metadata) {
        metadata.insert(MEAN.into(), self.mean.to_string());
        metadata.insert(STD.into(), self.std.to_string());
    }

    /// The same, if every standard deviation is above 0.
    ///
    /// # Errors
    /// [`Error::Data`] otherwise; `what` names where the values come from.
    pub fn checked(self, what: &str) -> Result<Self> {
        if self.std.0.iter().all(|std| *std > 0.0) {
            Ok(self)
        } else {
            Err(Error::data(
                format!("{what}: std"),
                self.std,
                "numbers above 0",
            ))
        }
    }
}

/// A model's first layer: `[B,3,H,W]` pixels in `[0,1]` to normalized `[B,H,W,3]`.
#[derive(Clone, Debug)]
pub struct InputLayer(Option<DeviceNormalization>);

/// A normalization and its numbers on the model's device, `[3]` each.
#[derive(Clone, Debug)]
struct DeviceNormalization {
    normalization: Normalization,
    mean: Tensor,
    std: Tensor,
}

impl InputLayer {
    /// The layer on a device; without a normalization it only moves the channels last.
    pub fn new(normalization: Option<Normalization>, device: &Device) -> Result<Self> {
        let on_device = |normalization: Normalization| {
            Ok::<_, Error>(DeviceNormalization {
                normalization,
                mean: Tensor::new(&normalization.mean.0, device)?,
                std: Tensor::new(&normalization.std.0, device)?,
            })
        };
        Ok(Self(normalization.map(on_device).transpose()?))
    }

    /// Its normalization.
    pub fn normalization(&self) -> Option<Normalization> {
        self.0.as_ref().map(|layer| layer.normalization)
    }

    /// `(x - mean) / std`, channels last.
    pub fn forward(&self, images: &Tensor) -> Result<Tensor> {
        let normalization = self.0.as_ref().map(|layer| [&layer.mean, &layer.std]);
        Ok(channels_last(images, normalization)?)
    }

    /// The gradient `[B,3,H,W]` of the images, from that of the output.
    pub fn backward(&self, grad_output: &Tensor) -> Result<Tensor> {
        let std = self.0.as_ref().map(|layer| &layer.std);
        Ok(channels_last_backward(grad_output, std)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(entries: &[(&str, &str)]) -> Metadata {
        entries
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect()
    }

    #[test]
    fn mean_and_std_round_trip_through_metadata() {
        let both = [
            ("mean", "0.4914,0.4822,0.4465"),
            ("std", "0.2023, 0.1994,0.2010"),
        ];
        let normalization = Normalization::from_metadata("a", &metadata(&both))
            .unwrap()
            .unwrap();
        assert_eq!(normalization.std.0, [0.2023, 0.1994, 0.201]);
        let mut written = Metadata::new();
        normalization.write(&mut written);
        assert_eq!(written["mean"], "0.4914,0.4822,0.4465");
        let again = Normalization::from_metadata("a", &written).unwrap();
        assert_eq!(again, Some(normalization));
        assert_eq!(
            Normalization::from_metadata("a", &Metadata::new()).unwrap(),
            None
        );
    }

    #[test]
    fn a_mean_alone_a_std_of_zero_and_other_text_are_refused() {
        for entries in [
            &[("mean", "0,0,0")][..],
            &[("std", "1,1,1")],
            &[("mean", "0,0,0"), ("std", "1,0,1")],
            &[("mean", "0,0"), ("std", "1,1,1")],
            &[("mean", "0,0,nan"), ("std", "1,1,1")],
        ] {
            let error = Normalization::from_metadata("a", &metadata(entries)).unwrap_err();
            assert_eq!(error.exit_code(), 3, "{entries:?}: {error}");
        }
    }

    #[test]
    fn what_is_given_must_not_contradict_the_header() {
        let given = Normalization {
            mean: "0.5,0.5,0.5".parse().unwrap(),
            std: "0.25,0.25,0.25".parse().unwrap(),
        };
        let resolve = |metadata: &Metadata| Normalization::resolve(Some(given), "a", metadata);
        assert_eq!(resolve(&Metadata::new()).unwrap(), Some(given));
        let mut same = Metadata::new();
        given.write(&mut same);
        assert_eq!(resolve(&same).unwrap(), Some(given));
        let other = metadata(&[("mean", "0,0,0"), ("std", "1,1,1")]);
        assert_eq!(resolve(&other).unwrap_err().exit_code(), 2);
    }
}

//! Architectures: the table of the networks that can be built, under the names that `--arch`, the weights'
//! metadata and a store's `model.config` use.

use std::fmt;

use candle_core::Var;

use super::{Metadata, Network, Weights, preact_resnet, resnet, spec::TensorSpec};
use crate::ComputeDevice;
use base::{Error, Result};

/// Every architecture. A new one is a file beside this one, and a row here.
pub const ARCHITECTURES: &[Architecture] = &[
    resnet::architecture::<3, 4, 6, 3>("resnet34", "ResNet34"),
    resnet::architecture::<2, 2, 2, 2>("resnet18", "ResNet18"),
    preact_resnet::architecture::<2, 2, 2, 2>("preact-resnet18", "PreActResNet18"),
];

/// Metadata key of an architecture's name.
const ARCHITECTURE: &str = "architecture";
/// Metadata key of the number of classes.
const CLASSES: &str = "classes";

/// Labels are bytes.
const MAX_CLASSES: usize = 256;
/// More channels than any stem has: a bound for widths that are read from a file.
const MAX_WIDTH: usize = 1 << 16;

/// A row of the table: how a network of any width and any number of classes is built.
pub struct Architecture {
    /// Name in metadata and on the command line.
    pub name: &'static str,
    /// Name in texts.
    pub title: &'static str,
    /// The convolution whose outputs are the width.
    pub(super) stem: &'static str,
    /// The linear layer whose outputs are the classes.
    pub(super) head: &'static str,
    /// Every tensor of a network of this width and this many classes.
    pub(super) specs: fn(width: usize, classes: usize) -> Vec<TensorSpec>,
    /// The network of these tensors, which are those of `specs`.
    pub(super) build: fn(ModelDescription, Weights) -> Result<Box<dyn Network>>,
}

impl Architecture {
    /// The paper's, and that of weights whose metadata name none.
    pub const DEFAULT: &'static Self = &ARCHITECTURES[0];

    /// The architecture of this name.
    ///
    /// # Errors
    /// [`Error::Usage`] that lists the known names.
    pub fn named(name: &str) -> Result<&'static Self> {
        Self::find(name).ok_or_else(|| {
            Error::Usage(format!(
                "unknown architecture '{name}'; known are {}",
                Self::known()
            ))
        })
    }

    /// The architecture that metadata name, or the default one.
    ///
    /// # Errors
    /// [`Error::Data`] for an unknown name; `what` is the file.
    pub fn from_metadata(what: &str, metadata: &Metadata) -> Result<&'static Self> {
        let Some(name) = metadata.get(ARCHITECTURE) else {
            return Ok(Self::DEFAULT);
        };
        Self::find(name).ok_or_else(|| {
            let found = format!("the unknown architecture '{name}'");
            Error::data(what, found, format!("one of {}", Self::known()))
        })
    }

    fn find(name: &str) -> Option<&'static Self> {
        ARCHITECTURES.iter().find(|row| row.name == name)
    }

    fn known() -> String {
        let names: Vec<&str> = ARCHITECTURES.iter().map(|row| row.name).collect();
        names.join(", ")
    }

    /// A fresh network: PyTorch's initialization, drawn from the seed.
    ///
    /// # Errors
    /// [`Error::Usage`] for a size that no network has.
    pub fn init(
        &self,
        width: usize,
        classes: usize,
        seed: u64,
        device: impl Into<ComputeDevice>,
    ) -> Result<Box<dyn Network>> {
        if !(1..=MAX_WIDTH).contains(&width) {
            let reason = "a model has 1 to 65536 channels";
            return Err(Error::Usage(format!("--width {width}: {reason}")));
        }
        if !(1..=MAX_CLASSES).contains(&classes) {
            let reason = "a model has 1 to 256 classes";
            return Err(Error::Usage(format!("{classes} classes: {reason}")));
        }
        let weights = Weights::init(&(self.specs)(width, classes), seed, device)?;
        self.load("a fresh model", weights)
    }

    /// The network of these weights; their shapes decide width and classes. `what` names them in errors.
    ///
    /// # Errors
    /// [`Error::Data`] when a tensor is missing, misshapen or unknown.
    pub fn load(&self, what: &str, weights: Weights) -> Result<Box<dyn Network>> {
        let width = weights.dim(&format!("{}.weight", self.stem), 0);
        let classes = weights.dim(&format!("{}.weight", self.head), 0);
        let specs = (self.specs)(width.clamp(1, MAX_WIDTH), classes.clamp(1, MAX_CLASSES));
        weights.check(what, &specs)?;
        let description = ModelDescription {
            architecture: self.name,
            title: self.title,
            width,
            classes,
        };
        (self.build)(description, weights)
    }
}

/// A network with copies of another one's weights, trainable ones where that one's are.
///
/// # Errors
/// [`Error::Tensor`] when the device refuses the memory.
pub fn duplicate(network: &dyn Network) -> Result<Box<dyn Network>> {
    let weights = network.weights().map(|_, tensor| {
        let copy = tensor.copy()?.detach();
        match tensor.is_variable() {
            true => Ok(Var::from_tensor(&copy)?.into_inner()),
            false => Ok(copy),
        }
    })?;
    let architecture = Architecture::named(network.describe().architecture)?;
    let mut copy = architecture.load("a copy", weights)?;
    copy.set_normalization(network.normalization())?;
    Ok(copy)
}

/// What a network is: printed as "ResNet34 of width 64".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelDescription {
    /// The architecture's name.
    pub architecture: &'static str,
    /// The architecture's name in texts.
    pub title: &'static str,
    /// Channels of the stem.
    pub width: usize,
    /// Outputs.
    pub classes: usize,
}

impl fmt::Display for ModelDescription {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} of width {}", self.title, self.width)
    }
}

impl ModelDescription {
    /// Writes it into a model's metadata.
    pub fn write(&self, metadata: &mut Metadata) {
        metadata.insert(ARCHITECTURE.into(), self.architecture.into());
        metadata.insert("width".into(), self.width.to_string());
        metadata.insert(CLASSES.into(), self.classes.to_string());
    }

    /// Refuses metadata of the file `what` that state another number of classes than the weights have.
    ///
    /// # Errors
    /// [`Error::Data`] with both numbers.
    pub fn check_metadata(&self, what: &str, metadata: &Metadata) -> Result<()> {
        match metadata.get(CLASSES) {
            Some(stated) if *stated != self.classes.to_string() => Err(Error::data(
                format!("{what}: metadata {CLASSES}"),
                stated,
                format!("{}, the rows of the last layer", self.classes),
            )),
            _ => Ok(()),
        }
    }

    /// Refuses a model that has another number of classes than its images have.
    ///
    /// # Errors
    /// [`Error::Data`] with both numbers; `what` names the model.
    pub fn check_classes(&self, what: &dyn fmt::Display, classes: usize) -> Result<()> {
        if self.classes == classes {
            return Ok(());
        }
        let expected = format!("{classes}, as many as the images have");
        let found = format!("{} classes", self.classes);
        Err(Error::data(what, found, expected))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn an_unknown_architecture_is_refused_with_the_known_names() {
        let error = Architecture::named("vgg").err().unwrap();
        assert_eq!(error.exit_code(), 2);
        let metadata = Metadata::from([("architecture".into(), "vgg".into())]);
        let wrong = Architecture::from_metadata("a", &metadata).err().unwrap();
        assert_eq!(wrong.exit_code(), 3);
        for text in [error.to_string(), wrong.to_string()] {
            for row in ARCHITECTURES {
                assert!(text.contains("'vgg'") && text.contains(row.name), "{text}");
            }
        }
        let none = Architecture::from_metadata("a", &Metadata::new()).unwrap();
        assert_eq!(none.name, Architecture::DEFAULT.name);
    }

    #[test]
    fn architectures_have_names_of_their_own() {
        for row in ARCHITECTURES {
            let same = ARCHITECTURES.iter().filter(|other| other.name == row.name);
            assert_eq!(same.count(), 1, "{}", row.name);
        }
    }

    #[test]
    fn the_number_of_classes_is_that_of_the_weights_and_metadata_must_not_contradict_it() {
        let init = |classes| Architecture::DEFAULT.init(2, classes, 0, &Device::Cpu);
        for classes in [0, 257] {
            assert_eq!(init(classes).err().unwrap().exit_code(), 2);
        }
        let description = init(7).unwrap().describe();
        assert_eq!((description.width, description.classes), (2, 7));
        let mut metadata = Metadata::new();
        description.check_metadata("a", &metadata).unwrap();
        description.write(&mut metadata);
        description.check_metadata("a", &metadata).unwrap();
        metadata.insert("classes".into(), "10".into());
        let error = description.check_metadata("a", &metadata).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        description.check_classes(&"a", 7).unwrap();
        assert_eq!(
            description.check_classes(&"a", 10).unwrap_err().exit_code(),
            3
        );
    }
}

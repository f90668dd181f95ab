//! Weights: a model's tensors under PyTorch's names, drawn from a seed or read from a safetensors file, checked
//! against specifications, and written back to the same bytes.

use std::{collections::BTreeMap, path::Path};

use candle_core::{DType, Tensor, Var};
use safetensors::{Dtype, SafeTensors};

use super::{
    foreign,
    spec::{Init, TensorSpec},
};
use crate::{ComputeDevice, ComputeOptions};
use base::{Error, Result, files, random::Stream};

/// Named tensors of a model, and how its layers are computed. Clones share their memory.
#[derive(Clone, Debug, Default)]
pub struct Weights {
    tensors: BTreeMap<String, Tensor>,
    options: ComputeOptions,
}

/// The `__metadata__` of a safetensors header.
pub type Metadata = BTreeMap<String, String>;

impl Weights {
    /// Fresh variables, a function of the seed and of each tensor's name.
    pub fn init(specs: &[TensorSpec], seed: u64, device: impl Into<ComputeDevice>) -> Result<Self> {
        let ComputeDevice { device, options } = &device.into();
        let tensor = |spec: &TensorSpec| -> Result<Tensor> {
            let shape = spec.shape.as_slice();
            Ok(match spec.init {
                Init::Buffer(value) => (Tensor::ones(shape, DType::F32, device)? * value)?,
                Init::Constant(value) => {
                    let filled = (Tensor::ones(shape, DType::F32, device)? * value)?;
                    Var::from_tensor(&filled)?.into_inner()
                }
                Init::Uniform(bound) => {
                    let mut stream = Stream::new(seed, &spec.name, &[]);
                    let values = (0..shape.iter().product())
                        .map(|_| stream.between(-bound, bound) as f32)
                        .collect();
                    Var::from_vec(values, shape, device)?.into_inner()
                }
            })
        };
        specs
            .iter()
            .map(|spec| Ok((spec.name.clone(), tensor(spec)?)))
            .collect::<Result<_>>()
            .map(|tensors| Self {
                tensors,
                options: *options,
            })
    }

    /// The tensors of safetensors bytes as constants; `what` names them in errors.
    ///
    /// # Errors
    /// [`Error::Data`] for anything but finite f32 tensors. PyTorch's `num_batches_tracked` counters are skipped.
    pub fn parse(
        what: &str,
        bytes: &[u8],
        device: impl Into<ComputeDevice>,
    ) -> Result<(Self, Metadata)> {
        let ComputeDevice { device, options } = device.into();
        let broken = |reason: safetensors::SafeTensorError| {
            let found = match foreign::recognize(bytes) {
                Some(kind) => kind.to_string(),
                None => format!("unreadable content ({reason})"),
            };
            Error::data(what, found, foreign::EXPECTED)
        };
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(broken)?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let file = SafeTensors::deserialize(bytes).map_err(broken)?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.iter() {
            if name.ends_with("num_batches_tracked") {
                continue;
            }
            let place = || format!("{what}: tensor {name}");
            if view.dtype() != Dtype::F32 {
                return Err(Error::data(
                    place(),
                    format!("type {:?}", view.dtype()),
                    "F32",
                ));
            }
            let values: Vec<f32> = view
                .data()
                .as_chunks::<4>()
                .0
                .iter()
                .map(|&bytes| f32::from_le_bytes(bytes))
                .collect();
            if let Some(wrong) = values.iter().find(|value| !value.is_finite()) {
                return Err(Error::data(place(), wrong, "finite numbers"));
            }
            let tensor = Tensor::from_vec(values, view.shape(), &device)?;
            tensors.insert(name.to_string(), tensor);
        }
        Ok((Self { tensors, options }, metadata.into_iter().collect()))
    }

    /// [`Weights::parse`] of a file.
    pub fn read(path: &Path, device: impl Into<ComputeDevice>) -> Result<(Self, Metadata)> {
        let bytes = files::read(path)?;
        Self::parse(&path.display().to_string(), &bytes, device)
    }

    /// Precision and determinism of the layers of these weights.
    pub fn options(&self) -> ComputeOptions {
        self.options
    }

    /// The tensors as safetensors bytes, the same for the same tensors and metadata.
    pub fn bytes(&self, metadata: &Metadata) -> Result<Vec<u8>> {
        let values: Vec<(&String, &Tensor, Vec<u8>)> = self
            .tensors
            .iter()
            .map(|(name, tensor)| {
                let values: Vec<f32> = tensor.flatten_all()?.to_vec1()?;
                let bytes = values.iter().flat_map(|value| value.to_le_bytes());
                Ok((name, tensor, bytes.collect()))
            })
            .collect::<Result<_>>()?;
        let malformed = |reason: safetensors::SafeTensorError| {
            Error::data(
                "weights",
                reason,
                "tensors that fit into a safetensors file",
            )
        };
        let views = values
            .iter()
            .map(|(name, tensor, bytes)| {
                let shape = tensor.dims().to_vec();
                let view = safetensors::tensor::TensorView::new(Dtype::F32, shape, bytes);
                Ok((name.as_str(), view.map_err(malformed)?))
            })
            .collect::<Result<Vec<_>>>()?;
        let header = metadata.clone().into_iter().collect();
        let bytes = safetensors::serialize(views, Some(header)).map_err(malformed)?;
        Ok(sort_metadata(bytes))
    }

    /// Writes a file, atomically.
    pub fn write(&self, path: &Path, metadata: &Metadata) -> Result<()> {
        files::write_whole(path, &self.bytes(metadata)?)
    }

    /// Checks that these are exactly the tensors of `specs`.
    ///
    /// # Errors
    /// [`Error::Data`] with the first missing, misshapen or unknown tensor.
    pub fn check(&self, what: &str, specs: &[TensorSpec]) -> Result<()> {
        foreign::check_names(what, self.tensors.keys().map(String::as_str), specs)?;
        for spec in specs {
            let place = || format!("{what}: tensor {}", spec.name);
            match self.tensors.get(&spec.name) {
                None => {
                    let expected = format!("one of shape {:?}", spec.shape);
                    let hint = foreign::hint(self.tensors.keys());
                    return Err(Error::data(place(), "none", expected + hint));
                }
                Some(tensor) if tensor.dims() != spec.shape => {
                    let found = format!("shape {:?}", tensor.dims());
                    return Err(Error::data(place(), found, format!("{:?}", spec.shape)));
                }
                Some(_) => {}
            }
        }
        match self
            .tensors
            .keys()
            .find(|name| specs.iter().all(|spec| spec.name != **name))
        {
            Some(name) => Err(Error::data(
                what,
                format!("a tensor {name}"),
                "none of that name",
            )),
            None => Ok(()),
        }
    }

    /// The tensor of this name.
    pub fn get(&self, name: &str) -> Result<Tensor> {
        self.tensors
            .get(name)
            .cloned()
            .ok_or_else(|| Error::data("weights", "no such tensor", format!("a tensor {name}")))
    }

    /// The size of a tensor's dimension, 0 where there is none.
    pub fn dim(&self, name: &str, dimension: usize) -> usize {
        let dims = self.tensors.get(name).map(Tensor::dims).unwrap_or_default();
        dims.get(dimension).copied().unwrap_or(0)
    }

    /// Whether there is a tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The trainable tensors by name.
    pub fn variables(&self) -> Result<BTreeMap<String, Var>> {
        let trainable = self
            .tensors
            .iter()
            .filter(|(_, tensor)| tensor.is_variable());
        trainable
            .map(|(name, tensor)| Ok((name.clone(), Var::from_tensor(tensor)?)))
            .collect()
    }

    /// The same tensors in the same memory, detached from autograd.
    pub fn frozen(&self) -> Self {
        let detached = self.tensors.iter();
        let detached = detached.map(|(name, tensor)| (name.clone(), tensor.detach()));
        Self {
            tensors: detached.collect(),
            options: self.options,
        }
    }

    /// `change` applied to every tensor and its name.
    pub fn map(&self, change: impl Fn(&str, &Tensor) -> Result<Tensor>) -> Result<Self> {
        let changed = self.tensors.iter();
        let changed = changed.map(|(name, tensor)| Ok((name.clone(), change(name, tensor)?)));
        Ok(Self {
            tensors: changed.collect::<Result<_>>()?,
            options: self.options,
        })
    }

    /// Copies of the tensors as constants.
    pub fn copied(&self) -> Result<Self> {
        self.map(|_, tensor| Ok(tensor.copy()?.detach()))
    }

    /// Copies the values of `other`, which must have the same tensors, on any device, into the same memory.
    pub fn set(&self, other: &Self) -> Result<()> {
        for (name, tensor) in &self.tensors {
            let value = other.get(name)?.to_device(tensor.device())?;
            if tensor.is_variable() {
                Var::from_tensor(tensor)?.set(&value)?;
            } else {
                tensor.slice_set(&value.contiguous()?, 0, 0)?;
            }
        }
        Ok(())
    }

    /// The tensors by name.
    pub fn tensors(&self) -> &BTreeMap<String, Tensor> {
        &self.tensors
    }
}

/// With the default [`ComputeOptions`].
impl FromIterator<(String, Tensor)> for Weights {
    fn from_iter<I: IntoIterator<Item = (String, Tensor)>>(tensors: I) -> Self {
        Self {
            tensors: tensors.into_iter().collect(),
            options: ComputeOptions::default(),
        }
    }
}

/// Sorts the header's metadata by key: safetensors writes them in a hash map's order, but the same model must
/// give the same bytes, and so the same checksum.
fn sort_metadata(mut bytes: Vec<u8>) -> Vec<u8> {
    const LENGTH: usize = size_of::<u64>();
    let sorted = bytes.first_chunk().and_then(|&length| {
        let end = LENGTH + u64::from_le_bytes(length) as usize;
        let mut header: serde_json::Map<_, _> =
            serde_json::from_slice(bytes.get(LENGTH..end)?).ok()?;
        header.get_mut("__metadata__")?.as_object_mut()?.sort_keys();
        let sorted = serde_json::to_vec(&header).ok()?;
        // The library pads the header with spaces; the entries are only moved.
        (sorted.len() <= end - LENGTH).then_some((sorted, end))
    });
    if let Some((sorted, end)) = sorted {
        bytes[LENGTH..end].fill(b' ');
        bytes[LENGTH..][..sorted.len()].copy_from_slice(&sorted);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn specs() -> Vec<TensorSpec> {
        vec![
            TensorSpec::weight("a.weight", [3, 2], 2),
            TensorSpec::new("b.running_var", [3], Init::Buffer(1.0)),
        ]
    }

    #[test]
    fn weights_round_trip_through_safetensors_bytes_which_are_deterministic() {
        let weights = Weights::init(&specs(), 1, &Device::Cpu).unwrap();
        let metadata: Metadata = (0..20)
            .map(|i| (format!("key{i}"), format!("{i}")))
            .collect();
        let bytes = weights.bytes(&metadata).unwrap();
        for _ in 0..5 {
            assert_eq!(bytes, weights.bytes(&metadata).unwrap());
        }
        let (read, header) = Weights::parse("bytes", &bytes, &Device::Cpu).unwrap();
        assert_eq!(header, metadata);
        read.check("bytes", &specs()).unwrap();
        assert_eq!(read.bytes(&metadata).unwrap(), bytes);
    }

    #[test]
    fn a_missing_misshapen_or_unknown_tensor_is_named() {
        let weights = Weights::init(&specs(), 1, &Device::Cpu).unwrap();
        let message = |specs: &[TensorSpec]| weights.check("model", specs).unwrap_err().to_string();
        let missing = [specs(), vec![TensorSpec::weight("c", [1], 1)]].concat();
        assert!(message(&missing).starts_with("model: tensor c: found none"));
        let misshapen = [TensorSpec::weight("a.weight", [2, 3], 2), specs().remove(1)];
        assert!(message(&misshapen).contains("a.weight: found shape [3, 2], expected [2, 3]"));
        assert!(message(&specs()[..1]).contains("found a tensor b.running_var"));
    }

    #[test]
    fn weights_that_are_not_finite_or_cut_short_are_refused() {
        let nan = Tensor::new(&[1f32, f32::NAN], &Device::Cpu).unwrap();
        let weights = Weights::from_iter([("a".to_string(), nan)]);
        let bytes = weights.bytes(&Metadata::new()).unwrap();
        let error = Weights::parse("model", &bytes, &Device::Cpu).unwrap_err();
        assert_eq!(
            (
                error.exit_code(),
                error.to_string().contains("tensor a: found NaN")
            ),
            (3, true)
        );
        for length in 0..bytes.len() {
            let error = Weights::parse("model", &bytes[..length], &Device::Cpu).unwrap_err();
            assert_eq!(error.exit_code(), 3);
        }
    }
}

//! Helpers of the golden tests: reading the files of `tests/golden`, and distances between our tensors and
//! PyTorch's. The head of `scripts/golden/golden` describes the files.

use std::{collections::BTreeMap, path::PathBuf, sync::LazyLock};

use candle_core::{DType, Device, Tensor};

/// Values, feature maps and running statistics: largest relative distance to PyTorch's.
pub const VALUE: f64 = 1e-4;
/// Gradients: the same.
pub const GRADIENT: f64 = 1e-3;

/// Where the golden file of this name is: in the sources, or in `MITHRIDATE_GOLDEN` on a machine
/// that has none.
pub fn path(name: &str) -> PathBuf {
    let folder = std::env::var("MITHRIDATE_GOLDEN")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/golden").into());
    PathBuf::from(folder).join(format!("{name}.safetensors"))
}

/// Where is computed: on the CPU, or on what `MITHRIDATE_DEVICE` names; prepared as the programs' devices are.
pub fn device() -> Device {
    static DEVICE: LazyLock<Device> = LazyLock::new(|| {
        let name = std::env::var("MITHRIDATE_DEVICE").unwrap_or_else(|_| "cpu".into());
        let choice: nn::device::DeviceChoice = name.parse().unwrap();
        // As the programs prepare it: the memory pool and the synchronization are theirs.
        let device = nn::prepare(choice.open().unwrap(), nn::ComputeOptions::default());
        device.unwrap().device
    });
    DEVICE.clone()
}

/// The tensors of one golden file.
pub struct Golden {
    /// By name.
    pub tensors: BTreeMap<String, Tensor>,
}

impl Golden {
    /// Reads `tests/golden/NAME.safetensors`.
    pub fn read(name: &str) -> Self {
        let tensors = candle_core::safetensors::load(path(name), &device()).unwrap();
        Self {
            tensors: tensors.into_iter().collect(),
        }
    }

    /// A tensor as it is stored.
    pub fn get(&self, name: &str) -> Tensor {
        self.tensors[name].clone()
    }

    /// A tensor's stored elements as floats.
    pub fn floats(&self, name: &str) -> Vec<f32> {
        let flat = self.get(name).flatten_all().unwrap();
        flat.to_dtype(DType::F32).unwrap().to_vec1().unwrap()
    }

    /// What is wrong with our tensor, if anything: its relative distance to PyTorch's is to be
    /// under `bound`.
    pub fn complaint(&self, name: &str, ours: &Tensor, bound: f64) -> Option<String> {
        let distance = relative(&thin(ours), &self.floats(name));
        println!("{name}: {distance:.1e}");
        let near = distance < bound; // which no NaN is
        (!near).then(|| format!("{name}: {distance:.1e}, not under {bound:.0e}"))
    }
}

/// The elements of a tensor that a golden file keeps: of more than 6144 every s-th, s odd.
pub fn thin(tensor: &Tensor) -> Vec<f32> {
    let values: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
    let stride = match values.len().div_ceil(6144) {
        0 | 1 => 1,
        stride => stride | 1,
    };
    values.into_iter().step_by(stride).collect()
}

/// `norm(ours - theirs) / norm(theirs)`; infinite if the numbers of elements differ.
fn relative(ours: &[f32], theirs: &[f32]) -> f64 {
    if ours.len() != theirs.len() {
        return f64::INFINITY;
    }
    let differences = std::iter::zip(ours, theirs).map(|(a, b)| f64::from(*a) - f64::from(*b));
    norm(differences) / norm(theirs.iter().copied().map(f64::from))
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|value| value * value).sum::<f64>().sqrt()
}

/// Fails with all complaints, if there are any.
pub fn nothing_wrong(complaints: impl IntoIterator<Item = Option<String>>) {
    let complaints: Vec<String> = complaints.into_iter().flatten().collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

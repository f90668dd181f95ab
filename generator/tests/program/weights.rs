//! Refusals of wrong weights: the error names the tensor.

use std::{collections::BTreeMap, fs};

use candle_core::{Device, Tensor};
use nn::model::{Architecture, Metadata, Weights};

use crate::common::TestDir;
use library_tests::{assert_error, edit};

#[test]
fn a_wrong_tensor_is_named_and_no_store_is_created() {
    let dir = TestDir::new();
    let assert_refused = |change: &dyn Fn(&mut BTreeMap<String, Tensor>), said: &str| {
        let model = Architecture::DEFAULT.init(2, 10, 1, &Device::Cpu).unwrap();
        let mut tensors = model.weights().tensors().clone();
        change(&mut tensors);
        let weights: Weights = tensors.into_iter().collect();
        let path = dir.path("model.safetensors");
        weights.write(&path, &Metadata::new()).unwrap();
        let expected = ["model.safetensors", said];
        dir.assert_refused(&mut dir.build("a.db", &[]), 3, &expected);
    };
    let name = "layer2.0.conv1.weight";
    assert_refused(
        &|tensors| drop(tensors.remove(name)),
        "tensor layer2.0.conv1.weight: found none, expected one of shape [4, 2, 3, 3]",
    );
    assert_refused(
        &|tensors| {
            let narrow = tensors[name].narrow(0, 0, 3).unwrap();
            tensors.insert(name.into(), narrow);
        },
        "tensor layer2.0.conv1.weight: found shape [3, 2, 3, 3], expected [4, 2, 3, 3]",
    );
    assert_refused(
        &|tensors| {
            let nan = (&tensors[name] * f64::NAN).unwrap();
            tensors.insert(name.into(), nan);
        },
        "tensor layer2.0.conv1.weight: found NaN, expected finite numbers",
    );
}

#[test]
fn truncated_weights_are_refused() {
    let dir = TestDir::new();
    edit(&dir.path("model.safetensors"), |bytes| {
        bytes.truncate(bytes.len() - 1);
    });
    let expected = ["model.safetensors: found ", "expected a safetensors file"];
    dir.assert_refused(&mut dir.build("a.db", &[]), 3, &expected);
    fs::write(dir.path("model.safetensors"), "").unwrap();
    dir.assert_refused(&mut dir.build("a.db", &[]), 3, &expected);
}

#[test]
fn a_model_with_nan_or_infinite_outputs_is_refused() {
    let dir = TestDir::new();
    let model = Architecture::DEFAULT.init(2, 10, 1, &Device::Cpu).unwrap();
    let huge = |(name, tensor): (&String, &Tensor)| {
        let scale = if name.starts_with("linear") {
            1e30
        } else {
            1e6
        };
        (name.clone(), (tensor * scale).unwrap())
    };
    let weights: Weights = model.weights().tensors().iter().map(huge).collect();
    let path = dir.path("model.safetensors");
    weights.write(&path, &Metadata::new()).unwrap();
    let output = dir.build("a.db", &[]).output().unwrap();
    assert_error(
        &output,
        5,
        &["model.safetensors: an output of the model is "],
    );
    assert_eq!(dir.info("a.db")["splits"][0]["images"], 0);
}

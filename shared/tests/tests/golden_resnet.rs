//! The classifier against PyTorch's: weights of a real state dict and images come in; logits,
//! feature maps, gradients and running statistics must be the same.

mod common;
#[path = "common/formula.rs"]
mod formula;

use candle_core::{DType, Tensor, Var};
use common::{GRADIENT, Golden, VALUE, nothing_wrong};
use formula::formula;
use nn::model::{Classifier, Features, ResNet34, Weights};

/// PyTorch's file as the programs read it.
fn weights() -> Weights {
    let path = common::path("resnet_weights");
    Weights::read(&path, &common::device()).unwrap().0
}

/// The images, as what is differentiated by, and the labels.
fn inputs(golden: &Golden) -> (Var, Tensor) {
    let images = Var::from_tensor(&golden.get("images")).unwrap();
    (images, golden.get("labels").to_dtype(DType::U32).unwrap())
}

fn compare_features(golden: &Golden, mode: &str, features: &Features) -> Vec<Option<String>> {
    // PyTorch's maps have their channels first.
    let channels_first = |map: &Tensor| map.permute((0, 3, 1, 2)).unwrap();
    let maps = features.maps.iter().map(channels_first).enumerate();
    maps.map(|(k, map)| (format!("{mode}/map.{k}"), map))
        .chain([(format!("{mode}/logits"), features.logits.clone())])
        .map(|(name, ours)| golden.complaint(&name, &ours, VALUE))
        .collect()
}

#[test]
fn a_state_dict_of_pytorch_is_read_to_the_last_bit() {
    let weights = weights();
    let fresh = ResNet34::init(4, 0, &common::device()).unwrap();
    let names = |weights: &Weights| weights.tensors().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&weights), names(fresh.weights()));
    for (name, tensor) in weights.tensors() {
        let expected = formula(name, tensor.dims());
        assert_eq!(common::thin(tensor), common::thin(&expected), "{name}");
    }
    // A real one: with the counters that PyTorch keeps and nobody else needs.
    let file = Golden::read("resnet_weights");
    assert_eq!(file.get("bn1.num_batches_tracked").dtype(), DType::I64);
    assert_eq!(ResNet34::new("the file", weights).unwrap().width(), 4);
}

#[test]
fn evaluation_equals_pytorchs_in_logits_maps_and_input_gradient() {
    let golden = Golden::read("resnet");
    let (images, labels) = inputs(&golden);
    let net = ResNet34::new("the file", weights()).unwrap();
    let features = net.frozen().unwrap().features(&images).unwrap();
    let mean = nn::cross_entropy(&features.logits, &labels).unwrap();
    let loss = (mean * labels.elem_count() as f64).unwrap();
    let gradients = loss.backward().unwrap();
    let mut complaints = compare_features(&golden, "eval", &features);
    complaints.push(golden.complaint("eval/loss", &loss, VALUE));
    let gradient = gradients.get(&images).unwrap();
    complaints.push(golden.complaint("eval/grad/images", gradient, GRADIENT));
    nothing_wrong(complaints);
}

#[test]
fn a_training_step_equals_pytorchs_in_every_gradient_and_running_statistic() {
    let golden = Golden::read("resnet");
    let (images, labels) = inputs(&golden);
    let net = ResNet34::init(4, 0, &common::device()).unwrap();
    net.weights().set(&weights()).unwrap();
    let features = net.train(&images).unwrap();
    let loss = nn::cross_entropy(&features.logits, &labels).unwrap();
    let gradients = loss.backward().unwrap();
    let mut complaints = compare_features(&golden, "train", &features);
    complaints.push(golden.complaint("train/loss", &loss, VALUE));
    let gradient = gradients.get(&images).unwrap();
    complaints.push(golden.complaint("train/grad/images", gradient, GRADIENT));

    let variables = net.weights().variables().unwrap();
    for (name, tensor) in net.weights().tensors() {
        complaints.push(match variables.get(name) {
            Some(variable) => {
                let gradient = gradients.get(variable).unwrap();
                golden.complaint(&format!("train/grad/{name}"), gradient, GRADIENT)
            }
            None => golden.complaint(&format!("train/after/{name}"), tensor, VALUE),
        });
    }
    // The file knows of no other parameter or statistic; one gradient is the images'.
    let listed = |n: &&String| n.starts_with("train/grad/") || n.starts_with("train/after/");
    let in_file = golden.tensors.keys().filter(listed).count();
    assert_eq!(in_file, net.weights().tensors().len() + 1);
    nothing_wrong(complaints);
}

//! Golden tests of the classifiers: with the weights of a PyTorch state dict, logits, feature maps, gradients and
//! running statistics equal PyTorch's.

mod common;
#[path = "common/formula.rs"]
mod formula;

use candle_core::{DType, Tensor, Var};
use common::{GRADIENT, Golden, VALUE, nothing_wrong, thin};
use formula::formula;
use nn::model::{Architecture, Features, Network, Weights};

/// Architecture, golden file `NAME` with its state dict `NAME_weights`, width.
const FILES: &[(&str, &str, usize)] = &[
    ("resnet34", "resnet", 4),
    ("resnet18", "resnet18", 2),
    ("preact-resnet18", "preact_resnet18", 2),
];

/// On CUDA, where sums are in another order, a rounding may change the sign of a ReLU's input, and a gradient by a tenth
/// of its size: the least cosine of all gradients of a network together, beside which
/// `scripts/cuda/simulate-rounding` finds 0.9999.
const GRADIENT_COSINE: f64 = 0.999;

/// PyTorch's file as the programs read it.
fn weights(file: &str) -> Weights {
    let path = common::path(&format!("{file}_weights"));
    Weights::read(&path, &common::device()).unwrap().0
}

fn architecture(name: &str) -> &'static Architecture {
    Architecture::named(name).unwrap()
}

/// A trainable network with PyTorch's weights.
fn network(name: &str, file: &str, width: usize) -> Box<dyn Network> {
    let network = architecture(name).init(width, 10, 0, &common::device());
    let network = network.unwrap();
    network.weights().set(&weights(file)).unwrap();
    network
}

/// The images as a variable, and the labels.
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

/// What is wrong with the gradients through a network with ReLUs, if anything: each is compared on the CPU, their
/// direction on CUDA.
fn gradient_complaints(golden: &Golden, ours: &[(String, Tensor)]) -> Vec<Option<String>> {
    if common::device().is_cpu() {
        let complaint = |(name, ours): &(String, Tensor)| golden.complaint(name, ours, GRADIENT);
        return ours.iter().map(complaint).collect();
    }
    let theirs: Vec<f32> = ours.iter().flat_map(|(n, _)| golden.floats(n)).collect();
    let ours: Vec<f32> = ours.iter().flat_map(|(_, tensor)| thin(tensor)).collect();
    assert_eq!(ours.len(), theirs.len());
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        let products = std::iter::zip(a, b).map(|(a, b)| f64::from(*a) * f64::from(*b));
        products.sum()
    };
    let cosine = dot(&ours, &theirs) / (dot(&ours, &ours) * dot(&theirs, &theirs)).sqrt();
    println!("all gradients: cosine {cosine:.6}");
    let near = cosine > GRADIENT_COSINE; // which no NaN is
    vec![(!near).then(|| format!("all gradients: cosine {cosine}, not over {GRADIENT_COSINE}"))]
}

#[test]
fn a_state_dict_of_pytorch_is_read_to_the_last_bit() {
    for &(name, file, width) in FILES {
        let weights = weights(file);
        let fresh = architecture(name).init(width, 10, 0, &common::device());
        let fresh = fresh.unwrap();
        let names = |weights: &Weights| weights.tensors().keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&weights), names(fresh.weights()));
        for (name, tensor) in weights.tensors() {
            let expected = formula(name, tensor.dims());
            assert_eq!(common::thin(tensor), common::thin(&expected), "{name}");
        }
        // A real state dict: with the counters that PyTorch keeps and nobody else needs.
        let golden = Golden::read(&format!("{file}_weights"));
        let is_counter = |name: &String| name.ends_with("num_batches_tracked");
        let counter = golden.tensors.keys().find(|name| is_counter(name)).unwrap();
        assert_eq!(golden.get(counter).dtype(), DType::I64);
        let read = architecture(name).load("the file", weights).unwrap();
        let description = read.describe();
        assert_eq!((description.width, description.classes), (width, 10));
    }
}

#[test]
fn evaluation_equals_pytorchs_in_logits_maps_and_input_gradient() {
    for &(name, file, _) in FILES {
        let golden = Golden::read(file);
        let (images, labels) = inputs(&golden);
        let network = architecture(name).load("the file", weights(file)).unwrap();
        let features = network.eval().unwrap().features(&images).unwrap();
        let mean = nn::cross_entropy(&features.logits, &labels).unwrap();
        let loss = (mean * labels.elem_count() as f64).unwrap();
        let gradients = nn::backward(&loss).unwrap();
        let mut complaints = compare_features(&golden, "eval", &features);
        complaints.push(golden.complaint("eval/loss", &loss, VALUE));
        let gradient = gradients.get(&images).unwrap().clone();
        let gradient = ("eval/grad/images".to_string(), gradient);
        complaints.extend(gradient_complaints(&golden, &[gradient]));
        nothing_wrong(complaints);
    }
}

#[test]
fn a_training_step_equals_pytorchs_in_every_gradient_and_running_statistic() {
    for &(name, file, width) in FILES {
        let golden = Golden::read(file);
        let (images, labels) = inputs(&golden);
        let network = network(name, file, width);
        let features = network.train(&images).unwrap();
        let loss = nn::cross_entropy(&features.logits, &labels).unwrap();
        let gradients = nn::backward(&loss).unwrap();
        let mut complaints = compare_features(&golden, "train", &features);
        complaints.push(golden.complaint("train/loss", &loss, VALUE));
        let gradient = |name: &str, variable: &Var| {
            let gradient = gradients.get(variable).unwrap();
            (format!("train/grad/{name}"), gradient.clone())
        };
        let mut all = vec![gradient("images", &images)];
        let variables = network.weights().variables().unwrap();
        for (name, tensor) in network.weights().tensors() {
            match variables.get(name) {
                Some(variable) => all.push(gradient(name, variable)),
                None => {
                    let name = format!("train/after/{name}");
                    complaints.push(golden.complaint(&name, tensor, VALUE));
                }
            }
        }
        complaints.extend(gradient_complaints(&golden, &all));
        // The file has no other parameter or statistic; one gradient is the images'.
        let listed = |n: &&String| n.starts_with("train/grad/") || n.starts_with("train/after/");
        let in_file = golden.tensors.keys().filter(listed).count();
        assert_eq!(in_file, network.weights().tensors().len() + 1);
        nothing_wrong(complaints);
    }
}

//! Golden tests of the detector and its losses: features, logits and gradients equal PyTorch's, and fresh models
//! are initialized as PyTorch's are.

mod common;
#[path = "common/formula.rs"]
mod formula;

use candle_core::{DType, Tensor, Var};
use common::{GRADIENT, Golden, VALUE, nothing_wrong, thin};
use formula::formula;
use nn::model::{ARCHITECTURES, Detector, DetectorInput, Weights};

const WIDTH: usize = 8;

/// The five maps of a classifier of this width, by formula.
fn maps() -> Vec<Tensor> {
    let sizes = [(1, 32), (1, 32), (2, 16), (4, 8), (8, 4)];
    let map = |(k, (channels, side))| {
        let map = formula(&format!("map.{k}"), &[2, channels * WIDTH, side, side]);
        let channels_last = map.permute((0, 2, 3, 1)).unwrap().contiguous().unwrap();
        Var::from_tensor(&channels_last).unwrap().into_inner()
    };
    sizes.into_iter().enumerate().map(map).collect()
}

/// These weights, by formula.
fn by_formula(fresh: &Weights) -> Weights {
    let tensors = fresh.tensors().iter();
    tensors
        .map(|(name, tensor)| (name.clone(), formula(name, tensor.dims())))
        .collect()
}

/// One forward and backward pass, all of it compared with the file; `zeros` names the gradients
/// that are mathematically zero.
fn compare(file: &str, detector: &Detector, used: &[usize], zeros: &[&str]) {
    let golden = Golden::read(file);
    let (maps, labels) = (maps(), golden.get("labels").to_dtype(DType::U32).unwrap());
    let detection = detector.forward(&maps, None).unwrap();
    let loss = nn::cross_entropy(&detection.logits, &labels).unwrap();
    let gradients = nn::backward(&loss).unwrap();
    let mut complaints = vec![
        golden.complaint("feature", &detection.feature, VALUE),
        golden.complaint("logits", &detection.logits, VALUE),
        golden.complaint("loss", &loss, VALUE),
    ];
    for (k, map) in maps.iter().enumerate() {
        match gradients.get(map) {
            Some(gradient) => {
                assert!(used.contains(&k));
                // PyTorch's maps have their channels first.
                let gradient = gradient.permute((0, 3, 1, 2)).unwrap();
                complaints.push(golden.complaint(&format!("grad/map.{k}"), &gradient, GRADIENT));
            }
            None => assert!(!used.contains(&k), "no gradient of map {k}"),
        }
    }
    let variables = detector.weights().variables().unwrap();
    assert_eq!(variables.len(), detector.weights().tensors().len());
    for (name, variable) in &variables {
        let gradient = gradients.get(variable).unwrap();
        let name = format!("grad/{name}");
        complaints.push(if zeros.contains(&name.as_str()) {
            zero(&golden, &name, gradient)
        } else {
            golden.complaint(&name, gradient, GRADIENT)
        });
    }
    nothing_wrong(complaints);
}

/// A gradient whose exact value is zero has no relative distance. Its terms, which cancel, are
/// as large as the gradients of the weights beside it: ours may leave a millionth of those, and ten on CUDA, where
/// sums are in another order.
fn zero(golden: &Golden, name: &str, ours: &Tensor) -> Option<String> {
    let terms = largest(&golden.floats(&name.replace(".bias", ".weight")));
    assert!(
        largest(&golden.floats(name)) < 1e-12 * terms,
        "{name} is not zero"
    );
    let left = largest(&thin(ours));
    println!("{name}: {left:.1e} where {terms:.1e} cancels");
    let share = if common::device().is_cpu() {
        1e-6
    } else {
        1e-5
    };
    (left >= share * terms).then(|| format!("{name}: {left:.1e} where {terms:.1e} cancels"))
}

/// The largest magnitude; none may be a NaN.
fn largest(values: &[f32]) -> f32 {
    assert!(values.iter().all(|value| value.is_finite()));
    values
        .iter()
        .fold(0.0, |largest, value| largest.max(value.abs()))
}

#[test]
fn the_detector_of_low_features_equals_pytorchs() {
    let path = common::path("detector_low_weights");
    let read = Weights::read(&path, &common::device()).unwrap().0;
    let detector = Detector::init(DetectorInput::Low, WIDTH, 2, 0, &common::device()).unwrap();
    detector.weights().set(&read).unwrap();
    for (name, tensor) in by_formula(&read).tensors() {
        assert_eq!(thin(tensor), thin(&read.get(name).unwrap()), "{name}");
    }
    // The file alone decides what kind of detector it is.
    let found = Detector::new("the file", read).unwrap();
    assert_eq!((found.input(), found.layers()), (DetectorInput::Low, 2));
    compare("detector_low", &detector, &[1], &[]);
}

#[test]
fn the_detector_of_all_features_equals_pytorchs() {
    let detector = Detector::init(DetectorInput::Full, WIDTH, 1, 0, &common::device()).unwrap();
    let weights = by_formula(detector.weights());
    detector.weights().set(&weights).unwrap();
    // Each is added to a whole token, whose mean the layer norms take away.
    let zeros = ["0", "1", "2", "3.1"].map(|part| format!("grad/emb_conv_list.{part}.bias"));
    let zeros = zeros.each_ref().map(String::as_str);
    compare("detector_full", &detector, &[1, 2, 3, 4], &zeros);
}

#[test]
fn smooth_l1_equals_pytorchs_on_both_sides_of_its_bend() {
    let golden = Golden::read("detector_low");
    let feature = Var::from_tensor(&golden.get("smooth_l1/feature")).unwrap();
    let target = golden.get("smooth_l1/target");
    let distances = thin(&(feature.as_tensor() - &target).unwrap().abs().unwrap());
    assert!(distances.iter().any(|&d| d > 1.0) && distances.iter().any(|&d| d < 1.0));
    let loss = nn::smooth_l1(&feature, &target).unwrap();
    let gradients = nn::backward(&loss).unwrap();
    let gradient = gradients.get(&feature).unwrap();
    nothing_wrong([
        golden.complaint("smooth_l1/loss", &loss, VALUE),
        golden.complaint("smooth_l1/grad/feature", gradient, GRADIENT),
    ]);
}

/// Every tensor of a fresh model is as PyTorch initializes it: convolutions and linear layers, with their
/// biases, uniform in ±1 / sqrt(fan-in) (Kaiming's uniform with a = sqrt 5), where the fan-in is
/// the product of all dimensions but the first, whatever kind of convolution it is.
fn starts_as_in_pytorch(weights: &Weights) {
    let mut uniform = 0;
    for (name, tensor) in weights.tensors() {
        let values: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
        let (stem, part) = name.rsplit_once('.').unwrap_or(("", name));
        let weight = weights.get(&format!("{stem}.weight"));
        let constant = match (part, weight) {
            ("weight" | "bias", Ok(weight)) if weight.rank() > 1 => {
                let fan_in: usize = weight.dims()[1..].iter().product();
                let bound = (fan_in as f64).powf(-0.5);
                uniform += 1;
                check_uniform(name, &values, bound);
                continue;
            }
            ("weight" | "running_var", _) => 1.0,
            ("bias" | "running_mean" | "cls_token" | "pos_emb", _) => 0.0,
            _ => panic!("{name} is not PyTorch's"),
        };
        assert!(values.iter().all(|&value| value == constant), "{name}");
    }
    assert!(uniform > 10);
}

fn check_uniform(name: &str, values: &[f32], bound: f64) {
    let count = values.len() as f64;
    let highest = values
        .iter()
        .map(|&v| f64::from(v.abs()))
        .fold(0.0, f64::max);
    assert!(
        highest <= bound * (1.0 + 1e-6),
        "{name}: {highest} of {bound}"
    );
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
    let square = values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / count;
    // A uniform number has variance 1/3, its square 4/45; five standard errors of the mean.
    let error = 5.0 / count.sqrt();
    assert!(
        mean.abs() < bound * error * (1f64 / 3.0).sqrt(),
        "{name}: mean {mean}"
    );
    let off = (square / bound.powi(2) - 1.0 / 3.0).abs();
    assert!(
        off < error * (4f64 / 45.0).sqrt(),
        "{name}: square {square}, bound {bound}"
    );
}

#[test]
fn fresh_models_have_pytorchs_names_and_initialization() {
    let low = Detector::init(DetectorInput::Low, WIDTH, 2, 5, &common::device()).unwrap();
    let full = Detector::init(DetectorInput::Full, WIDTH, 1, 5, &common::device()).unwrap();
    for (file, detector) in [("detector_low", &low), ("detector_full", &full)] {
        let golden = Golden::read(file);
        let names = golden
            .tensors
            .keys()
            .filter_map(|name| name.strip_prefix("grad/"));
        let names: Vec<&str> = names.filter(|name| !name.starts_with("map.")).collect();
        let ours: Vec<&str> = detector
            .weights()
            .tensors()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(ours, names);
        starts_as_in_pytorch(detector.weights());
    }
    for architecture in ARCHITECTURES {
        let network = architecture.init(16, 10, 5, &common::device()).unwrap();
        starts_as_in_pytorch(network.weights());
    }
}

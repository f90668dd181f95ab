//! Whole networks on CUDA against the CPU, by what rounding leaves of them: values within loose bounds, the direction
//! of the gradients, and a loss that falls. The gradients of 34 layers in training mode differ by up to their own
//! size where a few roundings change the sign of a ReLU's input; `layers` compares them layer by layer.

use candle_core::{Tensor, Var};
use nn::{
    ComputeDevice, Precision, SgdConfig, SgdParam,
    model::{Channels, Detector, DetectorInput, Dropout, Normalization},
};

use super::{
    BATCH, WIDTH, assert_near, floats, gpu, images, init, on_both, random_tensor, with_precision,
};

/// Per precision three times the largest distances that `scripts/cuda/simulate-rounding` prints, or more: in f32
/// Winograd's algorithm, which cuDNN may choose, loses about a digit.
struct Bounds {
    precision: Precision,
    /// Relative distance of logits, maps and running statistics in training mode.
    training: f64,
    /// Least cosine of the gradients of all weights, and of those of the images.
    cosine: f64,
    /// Relative distance of logits in evaluation mode, and of the images' gradient.
    evaluation: [f64; 2],
    /// Relative distance of a detector's feature, and of its gradients.
    detector: [f64; 2],
}

const BOUNDS: [Bounds; 3] = [
    Bounds {
        precision: Precision::F32,
        training: 1e-4,
        cosine: 0.9999,
        evaluation: [1e-4, 1e-2],
        detector: [3e-5, 1e-4],
    },
    Bounds {
        precision: Precision::Tf32,
        training: 4e-2,
        cosine: 0.9,
        evaluation: [1e-2, 3e-1],
        detector: [5e-3, 3e-2],
    },
    Bounds {
        precision: Precision::Bf16,
        training: 3.5e-1,
        cosine: 0.3,
        evaluation: [5e-2, 5e-1],
        detector: [3e-2, 1e-1],
    },
];

fn labels(device: &ComputeDevice) -> Tensor {
    Tensor::arange(0u32, BATCH as u32, device).unwrap()
}

fn cosine(found: &[f32], expected: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        let products = std::iter::zip(a, b).map(|(a, b)| f64::from(*a) * f64::from(*b));
        products.sum()
    };
    assert_eq!(found.len(), expected.len());
    dot(found, expected) / (dot(found, found) * dot(expected, expected)).sqrt()
}

fn assert_same_direction(what: &str, found: &[f32], expected: &[f32], least: f64) {
    let cosine = cosine(found, expected);
    println!("{what}: cosine {cosine:.4}");
    assert!(
        cosine > least,
        "{what}: cosine {cosine:.4}, not above {least}"
    );
}

#[test]
fn a_training_pass_has_the_cpus_values_and_direction_of_gradients_in_every_precision() {
    let Some((gpu, _lock)) = gpu("a_training_pass_has_the_cpus_values_and_direction_of_gradients")
    else {
        return;
    };
    for bounds in BOUNDS {
        let precision = bounds.precision;
        let gpu = with_precision(&gpu, precision, false);
        let what = |part: &str| format!("{precision}: {part}");
        let [cpu, cuda] = on_both(&gpu).map(|(device, model)| {
            let images = Var::from_tensor(&images().to_device(&device).unwrap()).unwrap();
            let features = model.train(&images).unwrap();
            let loss = nn::cross_entropy(&features.logits, &labels(&device)).unwrap();
            let gradients = nn::backward(&loss).unwrap();
            let of = |var: &Var| floats(gradients.get(var).unwrap());
            let variables = model.weights().variables().unwrap();
            let of_weights: Vec<f32> = variables.values().flat_map(of).collect();
            (features, of(&images), of_weights, model)
        });
        assert_near(
            &what("logits"),
            &cuda.0.logits,
            &cpu.0.logits,
            bounds.training,
        );
        for (found, expected) in cuda.0.maps.iter().zip(&cpu.0.maps) {
            assert_near(&what("a map"), found, expected, bounds.training);
        }
        assert_same_direction(
            &what("the images' gradient"),
            &cuda.1,
            &cpu.1,
            bounds.cosine,
        );
        assert_same_direction(
            &what("the weights' gradients"),
            &cuda.2,
            &cpu.2,
            bounds.cosine,
        );
        for (name, expected) in cpu.3.weights().tensors() {
            if name.contains("running_") {
                let found = cuda.3.weights().get(name).unwrap();
                assert_near(&what(name), &found, expected, bounds.training);
            }
        }
    }
}

/// The loss of each of some SGD steps on one batch.
fn training_losses(device: &ComputeDevice) -> Vec<f32> {
    let model = init(device);
    let images = images().to_device(device).unwrap();
    let variables = model.weights().variables().unwrap();
    let zeros = |var: &Var| var.zeros_like().unwrap();
    let velocities: Vec<Tensor> = variables.values().map(zeros).collect();
    let config = SgdConfig {
        momentum: 0.9,
        decay: 5e-4,
        nesterov: false,
        clip_norm: None,
    };
    let rate = Tensor::new(0.05f32, device).unwrap();
    let step = |_| {
        let logits = model.train(&images).unwrap().logits;
        let loss = nn::cross_entropy(&logits, &labels(device)).unwrap();
        let gradients = nn::backward(&loss).unwrap();
        let param = |(var, velocity): (&Var, &Tensor)| SgdParam {
            parameter: var.clone(),
            velocity: velocity.clone(),
            gradient: gradients.get(var).unwrap().clone(),
        };
        let params: Vec<SgdParam> = variables.values().zip(&velocities).map(param).collect();
        config.step(&rate, &loss, &params).unwrap();
        floats(&loss)[0]
    };
    (0..12).map(step).collect()
}

#[test]
fn the_loss_falls_over_a_few_sgd_steps_in_every_precision() {
    let Some((gpu, _lock)) = gpu("the_loss_falls_over_a_few_sgd_steps_in_every_precision") else {
        return;
    };
    for Bounds { precision, .. } in BOUNDS {
        let losses = training_losses(&with_precision(&gpu, precision, false));
        println!("{precision}: {losses:?}");
        assert!(
            losses[losses.len() - 1] < 0.5 * losses[0],
            "{precision}: {losses:?}"
        );
    }
}

#[test]
fn a_model_in_evaluation_mode_and_its_input_gradient_equal_the_cpus_in_every_precision() {
    let Some((gpu, _lock)) =
        gpu("a_model_in_evaluation_mode_and_its_input_gradient_equal_the_cpus")
    else {
        return;
    };
    let normalization = Normalization {
        mean: Channels([0.49, 0.48, 0.45]),
        std: Channels([0.25, 0.24, 0.26]),
    };
    let inputs = [None, Some(normalization)];
    for (bounds, input) in BOUNDS
        .iter()
        .flat_map(|bounds| inputs.map(|input| (bounds, input)))
    {
        let gpu = with_precision(&gpu, bounds.precision, false);
        // Running statistics of the CPU, so that no layer's outputs are all 0 and both models are the same.
        let cpu = ComputeDevice::from(&candle_core::Device::Cpu);
        let mut trained = init(&cpu);
        trained.set_normalization(input).unwrap();
        trained.train(&images()).unwrap();
        let [cpu, cuda] = on_both(&gpu).map(|(device, mut model)| {
            model.set_normalization(input).unwrap();
            model.weights().set(trained.weights()).unwrap();
            let images = Var::from_tensor(&images().to_device(&device).unwrap()).unwrap();
            let logits = model.eval().unwrap().logits(&images).unwrap();
            let gradients = logits.sqr().unwrap().sum_all().unwrap().backward().unwrap();
            (logits, gradients.get(&images).unwrap().clone())
        });
        let normalized = input.map_or("", |_| ", normalized");
        let what = |part: &str| format!("{}{normalized}: {part}", bounds.precision);
        let [value, gradient] = bounds.evaluation;
        assert_near(&what("logits"), &cuda.0, &cpu.0, value);
        assert_near(&what("the images' gradient"), &cuda.1, &cpu.1, gradient);
    }
}

#[test]
fn a_detector_with_dropout_equals_the_cpus_in_every_precision() {
    let Some((gpu, _lock)) = gpu("a_detector_with_dropout_equals_the_cpus_in_every_precision")
    else {
        return;
    };
    let dropout = Some(Dropout { rate: 0.1, key: 7 });
    // The same maps for both: through a network they would differ before the detector sees them.
    let sizes = [(1, 32), (1, 32), (2, 16), (4, 8), (8, 4)];
    let map = |(channels, side): (usize, usize)| {
        random_tensor(&[BATCH, side, side, channels * WIDTH], side as u64)
    };
    for bounds in BOUNDS {
        let gpu = with_precision(&gpu, bounds.precision, false);
        let cpu = ComputeDevice::from(&candle_core::Device::Cpu);
        let [cpu, cuda] = [cpu, gpu].map(|device| {
            let detector = Detector::init(DetectorInput::Full, WIDTH, 2, 5, &device).unwrap();
            let maps = sizes.map(|size| map(size).to_device(&device).unwrap());
            let output = detector.forward(&maps, dropout).unwrap();
            let loss = output.logits.sqr().unwrap().sum_all().unwrap();
            let gradients = nn::backward(&loss).unwrap();
            let variables = detector.weights().variables().unwrap();
            let grad_weights: Vec<(String, Tensor)> = variables
                .iter()
                .map(|(name, var)| (name.clone(), gradients.get(var).unwrap().clone()))
                .collect();
            (output.feature, grad_weights)
        });
        let what = |part: &str| format!("{}: {part}", bounds.precision);
        let [value, gradient] = bounds.detector;
        assert_near(&what("feature"), &cuda.0, &cpu.0, value);
        let all = cpu.1.iter().map(|(_, gradient)| largest(gradient));
        let largest_of_all = all.fold(0.0, f32::max);
        for ((name, found), (_, expected)) in cuda.1.iter().zip(&cpu.1) {
            // A gradient whose terms cancel is only as exact as they are.
            if largest(expected) > 1e-3 * largest_of_all {
                assert_near(&what(name), found, expected, gradient);
            }
        }
    }
}

fn largest(tensor: &Tensor) -> f32 {
    floats(tensor).iter().fold(0.0, |max, x| max.max(x.abs()))
}

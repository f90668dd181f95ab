//! CUDA against the CPU: the same models, images and random numbers must give the same results but for
//! rounding, within the bounds of each precision. Where no GPU can be opened every test prints why, past
//! the harness, and ends.

use std::{
    io::Write,
    sync::{Mutex, MutexGuard, PoisonError},
};

use attacks::{AttackBatch, AttackConfig, AttackKind, Preset};
use base::random::Stream;
use candle_core::{DType, Device, Tensor, Var};
use nn::{
    ComputeOptions, CropWindow, ImagePool, Precision, SgdConfig, SgdParam,
    model::{Architecture, Detector, DetectorInput, Dropout, Network, predicted_classes},
};

const WIDTH: usize = 12;
const BATCH: usize = 10;

/// Relative distances of values and of gradients that are rounding. TF32 has 11 bits, bf16 has 8, and
/// 34 layers add theirs up; in half of the layers a few units change sides of a ReLU.
const BOUNDS: [(Precision, f64, f64); 3] = [
    (Precision::F32, 1e-4, 1e-3),
    (Precision::Tf32, 1e-2, 1e-1),
    (Precision::Bf16, 5e-2, 3e-1),
];

/// A GPU and the right to choose its arithmetic, one test at a time.
struct Gpu {
    device: Device,
    _turn: MutexGuard<'static, ()>,
}

fn gpu(test: &str) -> Option<Gpu> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    static DEVICE: Mutex<Option<Device>> = Mutex::new(None);
    let mut opened = DEVICE.lock().unwrap_or_else(PoisonError::into_inner);
    if opened.is_none() {
        match Device::new_cuda_with_stream(0) {
            Ok(device) => *opened = Some(device),
            Err(reason) => {
                // Not by a macro: the harness would keep it to itself.
                let line = format!("SKIPPED {test}: no GPU can be opened: {reason}\n");
                std::io::stderr().write_all(line.as_bytes()).unwrap();
                return None;
            }
        }
    }
    let gpu = Gpu {
        device: opened.clone()?,
        _turn: turn,
    };
    gpu.compute(Precision::F32, false);
    Some(gpu)
}

impl Gpu {
    fn compute(&self, precision: Precision, deterministic: bool) {
        let arithmetic = ComputeOptions {
            precision,
            deterministic,
        };
        nn::prepare(&self.device, arithmetic).unwrap();
    }
}

fn drawn(shape: &[usize], key: u64) -> Tensor {
    let mut stream = Stream::new(key, "cuda", &[]);
    let draw = |_| stream.between(0.0, 1.0) as f32;
    let values: Vec<f32> = (0..shape.iter().product()).map(draw).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn images() -> Tensor {
    drawn(&[BATCH, 3, 32, 32], 1)
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    let tensor = tensor.to_dtype(DType::F32).unwrap();
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn assert_near(what: &str, found: &Tensor, expected: &Tensor, bound: f64) {
    assert_eq!(found.shape(), expected.shape(), "{what}");
    let (found, expected) = (floats(found), floats(expected));
    let square = |x: f64| x * x;
    let far: f64 = std::iter::zip(&found, &expected)
        .map(|(a, b)| square(f64::from(a - b)))
        .sum();
    let long: f64 = expected.iter().map(|x| square(f64::from(*x))).sum();
    let distance = (far / long.max(1e-12)).sqrt();
    println!("{what}: {distance:.1e}");
    assert!(
        distance < bound,
        "{what}: {distance:.1e}, not under {bound:.0e}"
    );
}

/// The same model on both devices.
fn nets(gpu: &Gpu) -> [Box<dyn Network>; 2] {
    [&Device::Cpu, &gpu.device].map(network)
}

fn network(device: &Device) -> Box<dyn Network> {
    Architecture::DEFAULT.init(WIDTH, 10, 3, device).unwrap()
}

#[test]
fn a_training_pass_equals_the_cpus_in_every_precision() {
    let Some(gpu) = gpu("a_training_pass_equals_the_cpus_in_every_precision") else {
        return;
    };
    for (precision, value, gradient) in BOUNDS {
        gpu.compute(precision, false);
        let what = |part: &str| format!("{}: {part}", precision);
        let [cpu, cuda] = nets(&gpu).map(|net| {
            let device = net.weights().get("conv1.weight").unwrap().device().clone();
            let images = Var::from_tensor(&images().to_device(&device).unwrap()).unwrap();
            let features = net.train(&images).unwrap();
            let labels = Tensor::arange(0u32, BATCH as u32, &device).unwrap();
            let loss = nn::cross_entropy(&features.logits, &labels).unwrap();
            let gradients = loss.backward().unwrap();
            let of_images = gradients.get(&images).unwrap().clone();
            let variables = net.weights().variables().unwrap();
            let of_weights: Vec<(String, Tensor)> = variables
                .iter()
                .map(|(name, var)| (name.clone(), gradients.get(var).unwrap().clone()))
                .collect();
            (features, of_images, of_weights, net)
        });
        assert_near(&what("logits"), &cuda.0.logits, &cpu.0.logits, value);
        for (found, expected) in cuda.0.maps.iter().zip(&cpu.0.maps) {
            assert_near(&what("a map"), found, expected, value);
        }
        assert_near(&what("the images' gradient"), &cuda.1, &cpu.1, gradient);
        for ((name, found), (_, expected)) in cuda.2.iter().zip(&cpu.2) {
            assert_near(&what(name), found, expected, gradient);
        }
        for (name, expected) in cpu.3.weights().tensors() {
            if name.contains("running_") {
                let found = cuda.3.weights().get(name).unwrap();
                assert_near(&what(name), &found, expected, value);
            }
        }
    }
}

#[test]
fn a_frozen_net_and_its_input_gradient_equal_the_cpus_in_every_precision() {
    let Some(gpu) = gpu("a_frozen_net_and_its_input_gradient_equal_the_cpus_in_every_precision")
    else {
        return;
    };
    for (precision, value, gradient) in BOUNDS {
        gpu.compute(precision, false);
        let [cpu, cuda] = nets(&gpu).map(|net| {
            let device = net.weights().get("conv1.weight").unwrap().device().clone();
            let images = Var::from_tensor(&images().to_device(&device).unwrap()).unwrap();
            // Statistics of its own, so that no layer dies out.
            net.train(&images).unwrap();
            let logits = net.eval().unwrap().logits(&images).unwrap();
            let gradients = logits.sqr().unwrap().sum_all().unwrap().backward().unwrap();
            (logits, gradients.get(&images).unwrap().clone())
        });
        let what = |part: &str| format!("{}: {part}", precision);
        assert_near(&what("logits"), &cuda.0, &cpu.0, value);
        assert_near(&what("the images' gradient"), &cuda.1, &cpu.1, gradient);
    }
}

#[test]
fn a_detector_with_dropout_equals_the_cpus_in_every_precision() {
    let Some(gpu) = gpu("a_detector_with_dropout_equals_the_cpus_in_every_precision") else {
        return;
    };
    let dropout = Some(Dropout { rate: 0.1, key: 7 });
    for (precision, value, gradient) in BOUNDS {
        gpu.compute(precision, false);
        let [cpu, cuda] = nets(&gpu).map(|net| {
            let device = net.weights().get("conv1.weight").unwrap().device().clone();
            let detector = Detector::init(DetectorInput::Full, WIDTH, 2, 5, &device).unwrap();
            let images = images().to_device(&device).unwrap();
            let maps = net.train(&images).unwrap().maps;
            let maps: Vec<Tensor> = maps.iter().map(Tensor::detach).collect();
            let seen = detector.forward(&maps, dropout).unwrap();
            let loss = seen.logits.sqr().unwrap().sum_all().unwrap();
            let gradients = loss.backward().unwrap();
            let variables = detector.weights().variables().unwrap();
            let of_weights: Vec<(String, Tensor)> = variables
                .iter()
                .map(|(name, var)| (name.clone(), gradients.get(var).unwrap().clone()))
                .collect();
            (seen.feature, of_weights)
        });
        let what = |part: &str| format!("{}: {part}", precision);
        assert_near(&what("feature"), &cuda.0, &cpu.0, value);
        let largest = cpu.1.iter().map(|(_, of)| largest(of)).fold(0.0, f32::max);
        for ((name, found), (_, expected)) in cuda.1.iter().zip(&cpu.1) {
            // A sum that cancels is as exact as its terms.
            if largest_of_terms(expected, largest) {
                assert_near(&what(name), found, expected, gradient);
            }
        }
    }
}

fn largest(tensor: &Tensor) -> f32 {
    floats(tensor).iter().fold(0.0, |all, x| all.max(x.abs()))
}

fn largest_of_terms(tensor: &Tensor, of_all: f32) -> bool {
    largest(tensor) > 1e-3 * of_all
}

#[test]
fn an_sgd_step_and_crop_resize_have_the_cpus_bits() {
    let Some(gpu) = gpu("an_sgd_step_and_crop_resize_have_the_cpus_bits") else {
        return;
    };
    let step = |device: &Device, loss: f32| {
        let on = |key| drawn(&[300, 100], key).to_device(device).unwrap();
        let param = SgdParam {
            parameter: Var::from_tensor(&on(1)).unwrap(),
            velocity: on(2),
            gradient: on(3),
        };
        let config = SgdConfig {
            rate: 0.1,
            momentum: 0.9,
            decay: 5e-4,
        };
        let loss = Tensor::new(loss, device).unwrap();
        config.step(&loss, std::slice::from_ref(&param)).unwrap();
        (floats(&param.parameter), floats(&param.velocity))
    };
    for loss in [1.0, f32::NAN] {
        let (cpu, cuda) = (step(&Device::Cpu, loss), step(&gpu.device, loss));
        // A GPU fuses a product and a sum where the CPU rounds twice.
        let near = |a: &f32, b: &f32| (a - b).abs() <= 1e-6;
        assert!(std::iter::zip(&cpu.0, &cuda.0).all(|(a, b)| near(a, b)));
        assert!(std::iter::zip(&cpu.1, &cuda.1).all(|(a, b)| near(a, b)));
    }

    let pixels: Vec<u8> = (0..3 * 3072u32).map(|i| (i * 37 % 251) as u8).collect();
    let resident = ImagePool::new(&pixels, &gpu.device).unwrap().unwrap();
    let streamed = ImagePool::streamed(&gpu.device).unwrap().unwrap();
    assert!(resident.is_resident() && !streamed.is_resident());
    let part = CropWindow {
        top: 3,
        left: 9,
        height: 20,
        width: 23,
        mirrored: true,
    };
    let beyond = CropWindow {
        top: -4,
        left: 2,
        ..CropWindow::WHOLE
    };
    let (rows, windows) = ([2, 0, 1], [CropWindow::WHOLE, part, beyond]);
    let mut expected = vec![0.0; 3 * 3072];
    for ((out, row), window) in expected.chunks_exact_mut(3072).zip(rows).zip(windows) {
        window.crop_resize(&pixels[row as usize * 3072..][..3072], out);
    }
    let cropped = resident.crop_resize(&pixels, &rows, &windows).unwrap();
    assert_eq!(floats(&cropped), expected);
    // Three times, so that each buffer of pinned memory is used again; the last time for less.
    for count in [3, 3, 2] {
        let cropped = streamed
            .crop_resize(&pixels, &rows[..count], &windows[..count])
            .unwrap();
        assert_eq!(floats(&cropped), expected[..count * 3072]);
    }
}

#[test]
fn attacks_fool_the_net_as_often_as_on_the_cpu_and_go_as_far() {
    let Some(gpu) = gpu("attacks_fool_the_net_as_often_as_on_the_cpu_and_go_as_far") else {
        return;
    };
    for kind in AttackKind::ALL {
        let [cpu, cuda] = nets(&gpu).map(|net| {
            let device = net.weights().get("conv1.weight").unwrap().device().clone();
            let images = images().to_device(&device).unwrap();
            net.train(&images).unwrap();
            let net = net.eval().unwrap();
            let labels = predicted_classes(&net.logits(&images).unwrap()).unwrap();
            let attack = AttackConfig::preset(Preset::Standard).build(kind);
            let ids: Vec<u64> = (0..BATCH as u64).collect();
            let batch = AttackBatch {
                styles: images.clone(),
                images: images.clone(),
                labels: &labels,
                ids: &ids,
                seed: 0,
            };
            let attacked = attack.perturb(net.as_ref(), &batch).unwrap().images;
            let now = predicted_classes(&net.logits(&attacked).unwrap()).unwrap();
            let fooled = std::iter::zip(&now, &labels)
                .filter(|(a, b)| a != b)
                .count();
            let far = (attacked - images).unwrap().sqr().unwrap();
            let far = far.mean_all().unwrap().to_scalar::<f32>().unwrap().sqrt();
            (fooled, far)
        });
        println!("{kind}: {cuda:?} on CUDA, {cpu:?} on the CPU");
        assert!(cuda.0.abs_diff(cpu.0) <= 1, "{kind}: {cuda:?}, {cpu:?}");
        assert!(
            (cuda.1 / cpu.1 - 1.0).abs() < 0.05,
            "{kind}: {cuda:?}, {cpu:?}"
        );
    }
}

#[test]
fn deterministic_passes_repeat_to_the_bit() {
    let Some(gpu) = gpu("deterministic_passes_repeat_to_the_bit") else {
        return;
    };
    for precision in [Precision::F32, Precision::Tf32, Precision::Bf16] {
        gpu.compute(precision, true);
        let pass = || {
            let net = network(&gpu.device);
            let images = images().to_device(&gpu.device).unwrap();
            let features = net.train(&images).unwrap();
            let labels = Tensor::arange(0u32, BATCH as u32, &gpu.device).unwrap();
            let loss = nn::cross_entropy(&features.logits, &labels).unwrap();
            let gradients = loss.backward().unwrap();
            let variables = net.weights().variables().unwrap();
            let all = variables
                .values()
                .flat_map(|var| floats(gradients.get(var).unwrap()));
            all.map(f32::to_bits).collect::<Vec<_>>()
        };
        assert!(pass() == pass(), "{}", precision);
    }
}

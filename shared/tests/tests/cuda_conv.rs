//! Convolutions on CUDA against the CPU, one at a time: forward and all gradients, in every precision, by plans of
//! cuDNN's and by im2col. Without a GPU every test prints why it is skipped, past the harness, and passes.

#[path = "common/gpu.rs"]
mod gpu;

use std::env;

use base::random::Stream;
use candle_core::{Device, Tensor, Var};
use nn::{ComputeDevice, ComputeOptions, Conv2d, Precision};

use gpu::{floats, run_again};

/// Largest relative distances of a single convolution: Winograd transforms in f32 lose some bits, TF32 has 11
/// significant bits, bf16 has 8.
const BOUNDS: [(Precision, f64); 3] = [
    (Precision::F32, 3e-5),
    (Precision::Tf32, 2e-3),
    (Precision::Bf16, 1e-2),
];

/// A convolution of square maps; a transposed one if `padding` is none.
#[derive(Clone, Copy, Debug)]
struct Case {
    images: usize,
    side: usize,
    c_in: usize,
    c_out: usize,
    kernel: usize,
    stride: usize,
    padding: Option<usize>,
}

const fn case(
    [images, side, c_in, c_out]: [usize; 4],
    [kernel, stride]: [usize; 2],
    padding: Option<usize>,
) -> Case {
    Case {
        images,
        side,
        c_in,
        c_out,
        kernel,
        stride,
        padding,
    }
}

/// Those of the models: stem, 3x3, strided, shortcut, embedding; channels with and without padding.
const CASES: [Case; 6] = [
    case([5, 32, 3, 16], [3, 1], Some(1)),
    case([4, 16, 24, 12], [3, 1], Some(1)),
    case([7, 16, 16, 32], [3, 2], Some(1)),
    case([3, 8, 16, 32], [1, 2], Some(0)),
    case([2, 8, 32, 32], [1, 1], Some(0)),
    case([3, 8, 24, 16], [2, 2], None),
];

/// So many images that im2col takes them in several pieces.
const MANY_IMAGES: Case = case([1000, 32, 3, 8], [3, 1], Some(1));

fn random_tensor(shape: &[usize], key: u64) -> Tensor {
    let mut stream = Stream::new(key, "cuda-conv", &[]);
    let draw = |_| stream.between(-1.0, 1.0) as f32;
    let values: Vec<f32> = (0..shape.iter().product()).map(draw).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// Result, and gradients of input, weight and bias for a random gradient of the result.
fn pass(case: Case, device: &ComputeDevice) -> [Vec<f32>; 4] {
    let Case {
        images,
        side,
        c_in,
        c_out,
        kernel,
        stride,
        padding,
    } = case;
    let [first, second] = match padding {
        Some(_) => [c_out, c_in],
        None => [c_in, c_out],
    };
    let var = |shape: &[usize], key| {
        let tensor = random_tensor(shape, key).to_device(device).unwrap();
        Var::from_tensor(&tensor).unwrap()
    };
    let x = var(&[images, side, side, c_in], 1);
    let weight = var(&[first, second, kernel, kernel], 2);
    let bias = var(&[c_out], 3);
    let y = match padding {
        Some(padding) => {
            let filter = Conv2d {
                weight: weight.as_tensor().clone(),
                stride,
                padding,
                options: device.options,
            };
            nn::conv2d(&x, &filter, Some(&bias))
        }
        None => nn::conv_transpose2d(&x, &weight, &bias, stride, device.options),
    }
    .unwrap();
    let gradient = random_tensor(y.dims(), 4).to_device(device).unwrap();
    let gradients = (&y * gradient).unwrap().sum_all().unwrap();
    let gradients = gradients.backward().unwrap();
    let gradient = |var: &Var| floats(gradients.get(var).unwrap());
    [floats(&y), gradient(&x), gradient(&weight), gradient(&bias)]
}

fn distance(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let square = |x: f32| f64::from(x).powi(2);
    let squares: f64 = std::iter::zip(found, expected)
        .map(|(a, b)| square(a - b))
        .sum();
    let norm: f64 = expected.iter().map(|x| square(*x)).sum();
    (squares / norm).sqrt()
}

fn check_all(gpu: &Device, method: &str) {
    let many = (method == "im2col").then_some(MANY_IMAGES);
    for case in CASES.into_iter().chain(many) {
        let expected = pass(case, &ComputeDevice::from(&Device::Cpu));
        for (precision, bound) in BOUNDS {
            for deterministic in [false, true] {
                let options = ComputeOptions {
                    precision,
                    deterministic,
                };
                let gpu = nn::prepare(gpu.clone(), options).unwrap();
                let found = pass(case, &gpu);
                let what = format!("{method}, {precision}, {case:?}");
                for (name, (found, expected)) in ["y", "grad_x", "grad_weight", "grad_bias"]
                    .iter()
                    .zip(std::iter::zip(&found, &expected))
                {
                    let distance = distance(found, expected);
                    println!("{what}: {name} {distance:.1e}");
                    assert!(distance < bound, "{what}: {name} {distance:.1e}");
                }
                let again = pass(case, &gpu);
                let bits = |pass: &[Vec<f32>; 4]| -> Vec<u32> {
                    pass.iter().flatten().map(|x| x.to_bits()).collect()
                };
                assert!(
                    !deterministic || bits(&again) == bits(&found),
                    "{what} does not repeat to the bit"
                );
            }
        }
    }
}

#[test]
fn every_convolution_and_its_gradients_equal_the_cpus_in_every_precision() {
    let name = "every_convolution_and_its_gradients_equal_the_cpus_in_every_precision";
    let Some((gpu, _lock)) = gpu::open(name) else {
        return;
    };
    let method = env::var("MITHRIDATE_CONV").unwrap_or_else(|_| "cuDNN".into());
    check_all(&gpu, &method);
}

#[test]
fn convolutions_by_im2col_equal_the_cpus_and_say_so_once() {
    let Some((_, _lock)) = gpu::open("convolutions_by_im2col_equal_the_cpus_and_say_so_once")
    else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plans.json");
    let settings = [
        ("MITHRIDATE_CONV", "im2col"),
        ("MITHRIDATE_PLAN_CACHE", file.to_str().unwrap()),
    ];
    let log = run_again("every_convolution", &settings);
    assert_eq!(log.matches("im2col").count(), 1, "{log}");
    assert!(!file.exists(), "what was not measured is not kept");
}

#[test]
fn measured_plans_are_kept_in_a_file_and_a_damaged_file_is_replaced() {
    let Some((_, _lock)) =
        gpu::open("measured_plans_are_kept_in_a_file_and_a_damaged_file_is_replaced")
    else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plans.json");
    std::fs::write(&file, "damaged").unwrap();
    let settings = [("MITHRIDATE_PLAN_CACHE", file.to_str().unwrap())];
    let log = run_again("every_convolution", &settings);
    assert!(log.contains("it is ignored and replaced"), "{log}");
    let plans = std::fs::read_to_string(&file).unwrap();
    assert!(
        plans.contains("weight gradient of 7x16x16x16 to 32"),
        "{plans}"
    );
    assert!(!plans.contains("deterministic"), "{plans}");
    // The second time everything is known.
    let log = run_again("every_convolution", &settings);
    assert!(!log.contains("ignored"), "{log}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), plans);
}

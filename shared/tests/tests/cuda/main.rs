//! CUDA against the CPU: the same models, images and random numbers must give the same results but for
//! rounding, within the bounds of each precision. Without a GPU every test prints why it is skipped, past the
//! harness, and passes.

#[path = "../common/gpu.rs"]
mod device;
mod epilogues;
mod head;
mod layers;
mod networks;
mod step_graph;

use std::sync::MutexGuard;

use attacks::{AttackBatch, AttackConfig, AttackKind, Preset, StyleSource, quantize};
use base::{Result, random::Stream};
use candle_core::{Device, Tensor, Var};
use data::IMAGE_BYTES;
use nn::{
    ComputeDevice, ComputeOptions, CropWindow, ImagePool, Precision, SgdConfig, SgdParam,
    model::{Architecture, Network, calibrated, predicted_classes},
};

use device::floats;

const WIDTH: usize = 12;
const BATCH: usize = 10;

/// The GPU, computing in f32, for one test at a time.
fn gpu(test: &str) -> Option<(ComputeDevice, MutexGuard<'static, ()>)> {
    let (device, lock) = device::open(test)?;
    Some((with_precision(&device, Precision::F32, false), lock))
}

fn with_precision(device: &Device, precision: Precision, deterministic: bool) -> ComputeDevice {
    let options = ComputeOptions {
        precision,
        deterministic,
    };
    nn::prepare(device.clone(), options).unwrap()
}

fn random_tensor(shape: &[usize], key: u64) -> Tensor {
    let mut stream = Stream::new(key, "cuda", &[]);
    let draw = |_| stream.between(0.0, 1.0) as f32;
    let values: Vec<f32> = (0..shape.iter().product()).map(draw).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn images() -> Tensor {
    random_tensor(&[BATCH, 3, 32, 32], 1)
}

fn assert_near(what: &str, found: &Tensor, expected: &Tensor, bound: f64) {
    assert_eq!(found.shape(), expected.shape(), "{what}");
    let (found, expected) = (floats(found), floats(expected));
    let square = |x: f64| x * x;
    let squares: f64 = std::iter::zip(&found, &expected)
        .map(|(a, b)| square(f64::from(a - b)))
        .sum();
    let norm: f64 = expected.iter().map(|x| square(f64::from(*x))).sum();
    assert!(norm > 0.0, "{what}: only zeros to compare with");
    let distance = (squares / norm).sqrt();
    println!("{what}: {distance:.1e}");
    assert!(
        distance < bound,
        "{what}: {distance:.1e}, not below {bound:.0e}"
    );
}

/// The same model on both devices.
fn on_both(gpu: &ComputeDevice) -> [(ComputeDevice, Box<dyn Network>); 2] {
    [ComputeDevice::from(&Device::Cpu), gpu.clone()].map(|device| {
        let model = init(&device);
        (device, model)
    })
}

fn init(device: &ComputeDevice) -> Box<dyn Network> {
    Architecture::DEFAULT.init(WIDTH, 10, 3, device).unwrap()
}

#[test]
fn averages_of_weights_have_the_cpus_bits() {
    let Some((gpu, _lock)) = gpu("averages_of_weights_have_the_cpus_bits") else {
        return;
    };
    let averaged = |device: &Device| -> Vec<f32> {
        let on = |i: u64, key| {
            let shape = [1 + 99 * (i as usize % 3), 100];
            random_tensor(&shape, 2 * i + key)
                .to_device(device)
                .unwrap()
        };
        // More than one launch has.
        let pairs: Vec<(Tensor, Tensor)> = (0..70).map(|i| (on(i, 0), on(i, 1))).collect();
        nn::average(&pairs, 0.999).unwrap();
        pairs
            .iter()
            .flat_map(|(average, _)| floats(average))
            .collect()
    };
    assert_eq!(averaged(&gpu), averaged(&Device::Cpu));
}

#[test]
fn an_sgd_step_and_crop_resize_have_the_cpus_bits() {
    let Some((gpu, _lock)) = gpu("an_sgd_step_and_crop_resize_have_the_cpus_bits") else {
        return;
    };
    let step = |device: &Device, loss: f32, nesterov: bool| {
        // More parameters than one launch has, of one block and of two.
        let param = |i: u64| {
            let shape = [1 + 99 * (i as usize % 3), 100];
            let on = |key| {
                random_tensor(&shape, 3 * i + key)
                    .to_device(device)
                    .unwrap()
            };
            SgdParam {
                parameter: Var::from_tensor(&on(1)).unwrap(),
                velocity: on(2),
                gradient: on(3),
            }
        };
        let params: Vec<SgdParam> = (0..70).map(param).collect();
        let config = SgdConfig {
            momentum: 0.9,
            decay: 5e-4,
            nesterov,
            clip_norm: nesterov.then_some(3.0),
        };
        let [rate, loss] = [0.1, loss].map(|number| Tensor::new(number, device).unwrap());
        config.step(&rate, &loss, &params).unwrap();
        let parameters = params.iter().flat_map(|param| floats(&param.parameter));
        let velocities = params.iter().flat_map(|param| floats(&param.velocity));
        (
            parameters.collect::<Vec<f32>>(),
            velocities.collect::<Vec<f32>>(),
        )
    };
    for (loss, nesterov) in [(1.0, false), (1.0, true), (f32::NAN, true)] {
        let cpu = step(&Device::Cpu, loss, nesterov);
        let cuda = step(&gpu, loss, nesterov);
        // A GPU fuses multiplication and addition, where the CPU rounds twice.
        let near = |a: &f32, b: &f32| (a - b).abs() <= 1e-6;
        assert!(std::iter::zip(&cpu.0, &cuda.0).all(|(a, b)| near(a, b)));
        assert!(std::iter::zip(&cpu.1, &cuda.1).all(|(a, b)| near(a, b)));
    }

    let pixels: Vec<u8> = (0..3 * 3072u32).map(|i| (i * 37 % 251) as u8).collect();
    let resident = ImagePool::new(&pixels, &gpu).unwrap().unwrap();
    let streamed = ImagePool::streamed(&gpu).unwrap().unwrap();
    assert!(resident.is_resident() && !streamed.is_resident());
    let inside = CropWindow {
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
    let (rows, windows) = ([2, 0, 1], [CropWindow::WHOLE, inside, beyond]);
    let mut expected = vec![0.0; 3 * 3072];
    for ((out, row), window) in expected.chunks_exact_mut(3072).zip(rows).zip(windows) {
        window.crop_resize(&pixels[row as usize * 3072..][..3072], out);
    }
    let cropped = resident.crop_resize(&pixels, &rows, &windows).unwrap();
    assert_eq!(floats(&cropped), expected);
    // Three batches, so that each buffer of pinned memory is reused; the last batch is smaller.
    for count in [3, 3, 2] {
        let cropped = streamed
            .crop_resize(&pixels, &rows[..count], &windows[..count])
            .unwrap();
        assert_eq!(floats(&cropped), expected[..count * 3072]);
    }
}

/// The style image of each image is the next one.
struct NextStyles<'a>(&'a [u8]);

impl StyleSource for NextStyles<'_> {
    fn style(&self, _: u64, id: u64, _: u8) -> Result<Vec<u8>> {
        let next = (id as usize + 1) % BATCH;
        Ok(self.0[next * IMAGE_BYTES..][..IMAGE_BYTES].to_vec())
    }
}

#[test]
fn attacks_fool_the_model_as_often_as_on_the_cpu_and_go_as_far() {
    let Some((gpu, _lock)) = gpu("attacks_fool_the_model_as_often_as_on_the_cpu_and_go_as_far")
    else {
        return;
    };
    // A model whose predictions attacks can change: a fresh one takes all images for one class.
    let several = random_tensor(&[8 * BATCH, 3, 32, 32], 2);
    let cpu = ComputeDevice::from(&Device::Cpu);
    let weights = calibrated(Architecture::DEFAULT, WIDTH, 10, &several, &cpu).unwrap();
    let pixels = quantize::round(&floats(&several.narrow(0, 0, BATCH).unwrap()));
    for kind in AttackKind::ALL {
        let [cpu, cuda] = on_both(&gpu).map(|(device, model)| {
            model.weights().set(&weights).unwrap();
            let images = quantize::to_tensor(&pixels, &device).unwrap();
            let model = model.eval().unwrap();
            let labels = predicted_classes(&model.logits(&images).unwrap()).unwrap();
            let attack = AttackConfig::preset(Preset::Standard).build(kind);
            let ids: Vec<u64> = (0..BATCH as u64).collect();
            let styles = NextStyles(&pixels);
            let batch = AttackBatch::new(&pixels, &labels, &ids, 0, &device).unwrap();
            let batch = batch.with_styles(&styles);
            let attacked = attack.perturb(model.as_ref(), &batch).unwrap().images;
            let after = predicted_classes(&model.logits(&attacked).unwrap()).unwrap();
            let fooled = std::iter::zip(&after, &labels)
                .filter(|(a, b)| a != b)
                .count();
            let squares = (attacked - images).unwrap().sqr().unwrap();
            let mean = squares.mean_all().unwrap().to_scalar::<f32>().unwrap();
            (fooled, mean.sqrt())
        });
        println!("{kind}: {cuda:?} on CUDA, {cpu:?} on the CPU");
        assert!(cpu.1 > 0.0, "{kind}: nothing was perturbed");
        assert!(cuda.0.abs_diff(cpu.0) <= 1, "{kind}: {cuda:?}, {cpu:?}");
        assert!(
            (cuda.1 / cpu.1 - 1.0).abs() < 0.05,
            "{kind}: {cuda:?}, {cpu:?}"
        );
    }
}

#[test]
fn deterministic_passes_repeat_to_the_bit() {
    let Some((gpu, _lock)) = gpu("deterministic_passes_repeat_to_the_bit") else {
        return;
    };
    for precision in [Precision::F32, Precision::Tf32, Precision::Bf16] {
        let gpu = with_precision(&gpu, precision, true);
        let pass = || {
            let model = init(&gpu);
            let images = images().to_device(&gpu).unwrap();
            let features = model.train(&images).unwrap();
            let labels = Tensor::arange(0u32, BATCH as u32, &gpu).unwrap();
            let loss = nn::cross_entropy(&features.logits, &labels).unwrap();
            let gradients = nn::backward(&loss).unwrap();
            let variables = model.weights().variables().unwrap();
            let all = variables
                .values()
                .flat_map(|var| floats(gradients.get(var).unwrap()));
            all.map(f32::to_bits).collect::<Vec<_>>()
        };
        assert!(pass() == pass(), "{}", precision);
    }
}

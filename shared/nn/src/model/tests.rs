//! Properties of every architecture of the table.

use candle_core::{D, DType, Device, Tensor, Var};

use super::*;
use base::random::Stream;

const WIDTH: usize = 2;
const CLASSES: usize = 7;

fn uniform(shape: &[usize], key: u64) -> Tensor {
    let mut stream = Stream::new(key, "architectures", &[]);
    let draw = |_| stream.between(0.0, 1.0) as f32;
    let values: Vec<f32> = (0..shape.iter().product()).map(draw).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn images(count: usize) -> Tensor {
    uniform(&[count, 3, 32, 32], 1)
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn fresh(architecture: &Architecture) -> Box<dyn Network> {
    architecture.init(WIDTH, CLASSES, 0, &Device::Cpu).unwrap()
}

/// A network whose running statistics are not those of a fresh one.
fn trained(architecture: &Architecture) -> Box<dyn Network> {
    let network = fresh(architecture);
    network.train(&images(4)).unwrap();
    network
}

fn normalization() -> Normalization {
    Normalization {
        mean: "0.4914,0.4822,0.4465".parse().unwrap(),
        std: "0.2023,0.1994,0.2010".parse().unwrap(),
    }
}

#[test]
fn every_architecture_is_loaded_from_its_own_file_with_equal_logits() {
    for architecture in ARCHITECTURES {
        let mut network = trained(architecture);
        network.set_normalization(Some(normalization())).unwrap();
        let mut metadata = Metadata::new();
        network.describe().write(&mut metadata);
        normalization().write(&mut metadata);
        let bytes = network.weights().bytes(&metadata).unwrap();
        let more = Metadata::new();
        let loaded = Loaded::parse("the file", bytes, more, None, &Device::Cpu).unwrap();
        assert_eq!(loaded.network.describe(), network.describe());
        let found = loaded.network.describe();
        assert_eq!(
            (found.architecture, found.width, found.classes),
            (architecture.name, WIDTH, CLASSES)
        );
        let logits = |network: &dyn Network| {
            let logits = network.eval().unwrap().logits(&images(3)).unwrap();
            assert_eq!(logits.dims(), [3, CLASSES], "{}", architecture.name);
            flat(&logits)
        };
        assert_eq!(logits(loaded.network.as_ref()), logits(network.as_ref()));
    }
}

#[test]
fn sgd_on_one_batch_lowers_the_training_loss_of_every_architecture() {
    for architecture in ARCHITECTURES {
        let network = fresh(architecture);
        let labels = Tensor::new(&[0u32, 1, 2, 3], &Device::Cpu).unwrap();
        let mut losses = Vec::new();
        for _ in 0..5 {
            let features = network.train(&images(4)).unwrap();
            let loss = crate::cross_entropy(&features.logits, &labels).unwrap();
            losses.push(loss.to_scalar::<f32>().unwrap());
            let gradients = crate::backward(&loss).unwrap();
            for (name, parameter) in network.weights().variables().unwrap() {
                let gradient = gradients.get(&parameter);
                let gradient = gradient.unwrap_or_else(|| panic!("no gradient of {name}"));
                let moved = (parameter.as_tensor() - (gradient * 0.02).unwrap()).unwrap();
                parameter.set(&moved.detach()).unwrap();
            }
        }
        let name = architecture.name;
        assert!(losses[4] < losses[0], "{name}: {losses:?}");
    }
}

#[test]
fn training_moves_running_statistics_and_evaluation_moves_nothing() {
    for architecture in ARCHITECTURES {
        let network = fresh(architecture);
        let values = || -> Vec<(String, Vec<f32>)> {
            let tensors = network.weights().tensors().iter();
            tensors.map(|(name, t)| (name.clone(), flat(t))).collect()
        };
        let before = values();
        network.eval().unwrap().logits(&images(4)).unwrap();
        assert!(values() == before, "{}", architecture.name);
        network.train(&images(4)).unwrap();
        for ((name, before), (_, after)) in before.iter().zip(values()) {
            assert_eq!(*before != after, name.contains("running_"), "{name}");
        }
    }
}

#[test]
fn an_images_logits_and_gradient_do_not_depend_on_its_batch() {
    for architecture in ARCHITECTURES {
        let model = trained(architecture).eval().unwrap();
        let run = |images: &Tensor| {
            let pixels = Var::from_tensor(images).unwrap();
            let logits = model.logits(&pixels).unwrap();
            let gradients = logits.sqr().unwrap().sum_all().unwrap().backward().unwrap();
            let gradient = gradients.get(&pixels).unwrap().clone();
            (logits, gradient)
        };
        let all = images(9);
        let (logits, gradients) = run(&all);
        for row in 0..9 {
            let (alone, gradient) = run(&all.narrow(0, row, 1).unwrap());
            let name = architecture.name;
            let together = logits.narrow(0, row, 1).unwrap();
            assert_eq!(flat(&alone), flat(&together), "{name}");
            let together = flat(&gradients.narrow(0, row, 1).unwrap());
            assert_eq!(flat(&gradient), together, "{name}");
            assert!(together.iter().any(|g| *g != 0.0), "{name}");
        }
    }
}

#[test]
fn the_vjp_of_any_rows_equals_that_of_candles_graph() {
    for architecture in ARCHITECTURES {
        let model = architecture.init(4, 10, 0, &Device::Cpu).unwrap();
        let model = model.eval().unwrap();
        let images = images(40);
        let mut ours = model.linearized(&images).unwrap();
        let mut graph = Graph::new(&images, |pixels| model.logits(pixels)).unwrap();
        assert_eq!(flat(ours.logits()), flat(graph.logits()));
        let few = vec![7, 0, 39];
        for rows in [few, (0..40).collect(), (1..40).rev().collect()] {
            let grad_logits = [2, 3, 4].map(|key| uniform(&[rows.len(), 10], key));
            let pairs = std::iter::zip(
                ours.vjp(&rows, &grad_logits).unwrap(),
                graph.vjp(&rows, &grad_logits).unwrap(),
            );
            for (ours, graph) in pairs {
                assert_eq!(ours.dims(), [rows.len(), 3, 32, 32]);
                assert_eq!(flat(&ours), flat(&graph), "{}", architecture.name);
            }
        }
    }
}

#[test]
fn normalization_is_the_first_layer_before_padding_and_in_the_gradients() {
    for architecture in ARCHITECTURES {
        normalization_is_the_first_layer(architecture);
    }
}

fn normalization_is_the_first_layer(architecture: &Architecture) {
    let device = Device::Cpu;
    let normalization = normalization();
    let plain = fresh(architecture);
    let mut normalized = fresh(architecture);
    normalized.set_normalization(Some(normalization)).unwrap();
    assert_eq!(normalized.normalization(), Some(normalization));
    let shape = (2, 3, 32, 32);
    let raw: Vec<f32> = (0..2 * 3 * 1024)
        .map(|i| (i * 7919 % 256) as f32 / 255.0)
        .collect();
    // PyTorch's order: subtract, then divide, in f32. The plain network pads with zeros after it.
    let channel = |i: usize| i / 1024 % 3;
    let by_hand = |(i, x): (usize, &f32)| {
        (x - normalization.mean.0[channel(i)]) / normalization.std.0[channel(i)]
    };
    let by_hand: Vec<f32> = raw.iter().enumerate().map(by_hand).collect();
    let images = Tensor::from_vec(raw, shape, &device).unwrap();
    let inputs = Tensor::from_vec(by_hand, shape, &device).unwrap();
    let assert_same = |a: &Features, b: &Features| {
        assert_eq!(flat(&a.logits), flat(&b.logits));
        for (a, b) in a.maps.iter().zip(&b.maps) {
            assert_eq!(flat(a), flat(b));
        }
    };
    assert_same(
        &normalized.train(&images).unwrap(),
        &plain.train(&inputs).unwrap(),
    );
    let (ours, theirs) = (normalized.eval().unwrap(), plain.eval().unwrap());
    assert_same(
        &ours.features(&images).unwrap(),
        &theirs.features(&inputs).unwrap(),
    );

    // d/d pixel is d/d input over the standard deviation, whichever way it is computed.
    let grad_logits = Tensor::arange(0f32, CLASSES as f32, &device).unwrap();
    let grad_logits = grad_logits.broadcast_as((2, CLASSES)).unwrap();
    let grad_logits = [grad_logits.contiguous().unwrap()];
    let gradients = |model: &dyn Classifier, images: &Tensor| {
        let graph = Graph::new(images, |pixels| model.logits(pixels)).unwrap();
        let mut both: [Box<dyn Linearized>; 2] =
            [model.linearized(images).unwrap(), Box::new(graph)];
        both.each_mut()
            .map(|way| flat(&way.vjp(&[0, 1], &grad_logits).unwrap()[0]))
    };
    let expected = gradients(theirs.as_ref(), &inputs)[0].clone();
    let expected = expected.iter().enumerate();
    let expected: Vec<f32> = expected
        .map(|(i, g)| g / normalization.std.0[channel(i)])
        .collect();
    for found in gradients(ours.as_ref(), &images) {
        assert!(found.iter().any(|g| *g != 0.0));
        assert_eq!(found, expected);
    }
}

#[test]
fn feature_maps_have_the_batch_first_and_are_counted_as_activations() {
    for architecture in ARCHITECTURES {
        let network = fresh(architecture);
        let features = network.eval().unwrap().features(&images(2)).unwrap();
        assert!(!features.maps.is_empty());
        for map in &features.maps {
            assert_eq!(map.dims4().unwrap().0, 2, "{}", architecture.name);
            assert_eq!(map.dtype(), DType::F32);
        }
        assert_eq!(features.logits.dim(D::Minus1).unwrap(), CLASSES);
        assert!(network.activation_count(true) >= network.activation_count(false));
        let largest = features.maps.iter().map(Tensor::elem_count).max().unwrap();
        assert!(2 * network.activation_count(false) >= largest);
    }
}

#[test]
fn the_argmax_is_the_first_of_equal_logits_and_a_nan_has_none() {
    let classes = |rows: &[[f32; 3]]| {
        let logits = Tensor::from_vec(rows.concat(), (rows.len(), 3), &Device::Cpu);
        predicted_classes(&logits.unwrap())
    };
    let rows = [[-3.0, -1.0, -2.0], [0.0, 5.0, 5.0]];
    assert_eq!(classes(&rows).unwrap(), [1, 1]);
    for wrong in [f32::NAN, f32::INFINITY] {
        assert_eq!(classes(&[[0.0, wrong, 0.0]]).unwrap_err().exit_code(), 5);
    }
}

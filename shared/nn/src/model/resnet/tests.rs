//! ResNet34's normalization and the count of its activations.

use super::*;

/// Pixels of every brightness, borders included.
fn pixels(count: usize) -> Vec<f32> {
    (0..count * 3 * SIDE * SIDE)
        .map(|i| (i * 7919 % 256) as f32 / 255.0)
        .collect()
}

#[test]
fn normalization_is_the_first_layer_before_padding_and_so_are_its_gradients() {
    let device = Device::Cpu;
    let normalization = Normalization {
        mean: "0.4914,0.4822,0.4465".parse().unwrap(),
        std: "0.2023,0.1994,0.2010".parse().unwrap(),
    };
    let plain = ResNet34::init(4, 0, &device).unwrap();
    let normalized = plain.clone().normalized(Some(normalization)).unwrap();
    let shape = (2, 3, SIDE, SIDE);
    let raw = pixels(2);
    // PyTorch's order: subtract, then divide, in f32. The plain network pads with zeros after it.
    let by_hand = |(i, x): (usize, &f32)| {
        let channel = i / (SIDE * SIDE) % 3;
        (x - normalization.mean.0[channel]) / normalization.std.0[channel]
    };
    let by_hand: Vec<f32> = raw.iter().enumerate().map(by_hand).collect();
    let images = Tensor::from_vec(raw, shape, &device).unwrap();
    let inputs = Tensor::from_vec(by_hand, shape, &device).unwrap();
    let flat = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let same = |a: &Features, b: &Features| {
        assert_eq!(flat(&a.logits), flat(&b.logits));
        for (a, b) in a.maps.iter().zip(&b.maps) {
            assert_eq!(flat(a), flat(b));
        }
    };
    same(
        &normalized.train(&images).unwrap(),
        &plain.train(&inputs).unwrap(),
    );
    let (ours, theirs) = (normalized.frozen().unwrap(), plain.frozen().unwrap());
    same(
        &ours.features(&images).unwrap(),
        &theirs.features(&inputs).unwrap(),
    );

    // d/d pixel is d/d input over the standard deviation, whichever way it is computed.
    let slopes = Tensor::ones((2, CLASSES), DType::F32, &device).unwrap();
    let slopes = (slopes
        * Tensor::arange(0f32, 10.0, &device)
            .unwrap()
            .broadcast_as((2, CLASSES))
            .unwrap())
    .unwrap();
    let gradients = |net: &FrozenResNet34, images: &Tensor| {
        let graph = Graph::new(images, |pixels| net.logits(pixels)).unwrap();
        let mut ways: [Box<dyn Linearized>; 2] = [net.linearized(images).unwrap(), Box::new(graph)];
        ways.each_mut()
            .map(|way| flat(&way.vjp(&[0, 1], std::slice::from_ref(&slopes)).unwrap()[0]))
    };
    let expected = gradients(&theirs, &inputs)[0].clone();
    let expected = expected
        .iter()
        .enumerate()
        .map(|(i, g)| g / normalization.std.0[i / (SIDE * SIDE) % 3]);
    let expected: Vec<f32> = expected.collect();
    for found in gradients(&ours, &images) {
        assert!(found.iter().any(|g| *g != 0.0));
        assert_eq!(found, expected);
    }
}

#[test]
fn what_is_kept_of_a_picture_is_counted_as_its_maps_are() {
    const WIDTH: usize = 4;
    let device = Device::Cpu;
    let net = ResNet34::init(WIDTH, 0, &device).unwrap();
    let image = Tensor::zeros((1, 3, SIDE, SIDE), DType::F32, &device).unwrap();
    let maps = net.frozen().unwrap().features(&image).unwrap().maps;
    let [stem, stages @ ..] = maps.map(|map| map.elem_count());
    let blocks = std::iter::zip(BLOCKS, stages);
    let activations = stem + blocks.map(|(blocks, map)| 2 * blocks * map).sum::<usize>();
    assert_eq!(ResNet34::kept(WIDTH, false), activations);
    // As many convolutions, and the shortcuts of three stages.
    let shortcuts: usize = stages[1..].iter().sum();
    assert_eq!(ResNet34::kept(WIDTH, true), 2 * activations + shortcuts);
}

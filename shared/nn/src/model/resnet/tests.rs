//! The ResNet's count of activations.

use candle_core::{DType, Device};

use super::*;

#[test]
fn the_activation_count_is_that_of_the_maps() {
    const WIDTH: usize = 4;
    const BLOCKS: [usize; 4] = [3, 4, 6, 3];
    let device = Device::Cpu;
    let network = Architecture::DEFAULT.init(WIDTH, 10, 0, &device).unwrap();
    let image = Tensor::zeros((1, 3, IMAGE_SIZE, IMAGE_SIZE), DType::F32, &device).unwrap();
    let maps = network.eval().unwrap().features(&image).unwrap().maps;
    let sizes: Vec<usize> = maps.iter().map(Tensor::elem_count).collect();
    let (stem, stages) = (sizes[0], &sizes[1..]);
    let blocks = std::iter::zip(BLOCKS, stages);
    let activations = stem + blocks.map(|(blocks, map)| 2 * blocks * map).sum::<usize>();
    assert_eq!(network.activation_count(false), activations);
    // As many convolutions, and the shortcuts of three stages.
    let shortcuts: usize = stages[1..].iter().sum();
    assert_eq!(network.activation_count(true), 2 * activations + shortcuts);
}

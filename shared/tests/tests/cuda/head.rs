//! The end of a classifier on CUDA against the CPU: average pooling, linear layer and loss, with every gradient.

use candle_core::{DType, Tensor};
use nn::Precision;

use super::{
    gpu,
    layers::{compare, signed},
    random_tensor,
};

#[test]
fn average_pooling_linear_layer_and_cross_entropy_and_their_gradients_equal_the_cpus_in_every_precision()
 {
    let Some((gpu, _lock)) = gpu("average_pooling_linear_layer_and_cross_entropy") else {
        return;
    };
    // Channels with and without padding to eights.
    for channels in [12, 24] {
        let weight = signed(&[10, channels], (3.0 / channels as f64).sqrt(), 2);
        compare(
            &format!("average pooling and linear layer of {channels} channels"),
            &gpu,
            &[
                random_tensor(&[9, 4, 4, channels], 1),
                weight,
                signed(&[10], 1.0, 3),
            ],
            &|a, options| {
                let map = match options.precision {
                    Precision::Bf16 => a[0].to_dtype(DType::BF16)?,
                    _ => a[0].clone(),
                };
                let pooled = nn::global_avg_pool(&map)?;
                Ok(vec![nn::linear(&pooled, &a[1], &a[2], options)?])
            },
            None,
        );
    }
    for smoothing in [0.0, 0.1] {
        compare(
            &format!("cross entropy with smoothing {smoothing}"),
            &gpu,
            &[signed(&[300, 10], 3.0, 4)],
            &|a, _| {
                let labels: Vec<u32> = (0..300).map(|i| i * i % 10).collect();
                let labels = Tensor::new(labels, a[0].device())?;
                let loss = nn::smoothed_cross_entropy(&a[0], &labels, smoothing)?;
                Ok(vec![loss.reshape(1)?])
            },
            None,
        );
    }
}

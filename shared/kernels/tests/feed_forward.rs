//! Feed-forward sublayer: an image's outputs and gradients do not depend on its batch.

use kernels::{
    random::Stream,
    transformer::{FeedForwardSublayer, Sublayer, SublayerShape},
};

fn normal(len: usize, seed: u64) -> Vec<f32> {
    let mut stream = Stream::new(seed, "feed-forward", &[]);
    (0..len).map(|_| stream.normal() as f32).collect()
}

#[test]
fn a_feed_forward_sublayer_of_an_image_has_the_same_bits_in_any_batch() {
    const IMAGES: usize = 3;
    for (d_model, tokens) in [(8, 257), (128, 257), (256, 33), (256, 1)] {
        let inner = 2 * d_model;
        let shape = SublayerShape {
            d_model,
            hidden_dim: inner,
            inner_dim: inner,
            eps: 1e-5,
        };
        let sublayer = FeedForwardSublayer {
            shape,
            tokens,
            hidden_dropout: None,
            dropout: None,
        };
        let len = tokens * d_model;
        let weights = normal(
            2 * d_model + inner * d_model + inner + d_model * inner + d_model,
            1,
        );
        let (x, grad) = (normal(IMAGES * len, 2), normal(IMAGES * len, 3));
        let run = |x: &[f32], grad: &[f32]| {
            let (y, saved) = sublayer.forward(x, &weights, true);
            (y, sublayer.backward(x, &weights, &saved, grad, false).0)
        };
        let (y, grad_x) = run(&x, &grad);
        for image in 0..IMAGES {
            let part = image * len..(image + 1) * len;
            let alone = run(&x[part.clone()], &grad[part.clone()]);
            let same = alone.0 == y[part.clone()] && alone.1 == grad_x[part];
            assert!(same, "image {image} of {tokens} tokens, {d_model} channels");
        }
    }
}

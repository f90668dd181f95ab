//! FORMULA of `scripts/golden/golden`: reproducible tensor values from a tensor's name and shape.

use base::random::{key, uniform_at};
use candle_core::Tensor;

/// The tensor of this name.
pub fn formula(name: &str, shape: &[usize]) -> Tensor {
    let key = key(0, &format!("golden/{name}"), &[]);
    let fan_in: usize = shape[1..].iter().product();
    let value = |u: f64| match name.rsplit('.').next().unwrap() {
        "cls_token" | "pos_emb" | "running_mean" => (2.0 * u - 1.0) * 0.1,
        "bias" => (2.0 * u - 1.0) * 0.2,
        "running_var" => 0.5 + u,
        "weight" if shape.len() == 1 => 0.75 + 0.5 * u,
        "weight" => (2.0 * u - 1.0) * (3.0 / fan_in as f64).sqrt(),
        _ => u,
    };
    let values = (0..shape.iter().product::<usize>())
        .map(|i| value(f64::from(uniform_at(key, i as u64))) as f32)
        .collect();
    Tensor::from_vec(values, shape, &super::common::device()).unwrap()
}

//! Logits on the host: argmax, runner-up and margin of each image.

use candle_core::{DType, Device, Tensor};

use base::{Error, Result};

/// What is not finite, in an error.
pub const LOGITS: &str = "the model's logits are";

/// The logits of one image, one per class.
pub type LogitRow = Vec<f32>;

/// The number of classes of these logits, `[B,classes]`; `ids` and `labels` are the images'.
///
/// # Errors
/// [`Error::Data`] when there is not a row for each image, fewer than two classes, or a label
/// that is none of them.
pub fn check(logits: &Tensor, ids: &[u64], labels: &[u8]) -> Result<usize> {
    let classes = match *logits.dims() {
        [rows, classes] if rows == ids.len() && classes > 1 => classes,
        _ => {
            return Err(Error::data(
                "logits",
                format!("{:?}", logits.dims()),
                format!("[{}, classes], two classes at least", ids.len()),
            ));
        }
    };
    match labels.iter().position(|&l| usize::from(l) >= classes) {
        None => Ok(classes),
        Some(row) => Err(Error::data(
            format!("image {}", ids[row]),
            format!("label {}", labels[row]),
            format!("a label from 0 to {}, as the model has", classes - 1),
        )),
    }
}

/// Copies logits to the host; `ids` and `labels` are the images'.
///
/// # Errors
/// What [`check`] refuses, and [`Error::NonFinite`] when a logit is not finite.
pub fn rows(logits: &Tensor, ids: &[u64], labels: &[u8]) -> Result<Vec<LogitRow>> {
    check(logits, ids, labels)?;
    let rows = logits.detach().to_dtype(DType::F32)?.to_vec2::<f32>()?;
    for (row, id) in rows.iter().zip(ids) {
        if !row.iter().all(|z| z.is_finite()) {
            return Err(Error::NonFinite(format!("image {id}: {LOGITS} not finite")));
        }
    }
    Ok(rows)
}

/// Argmax: the class of the largest logit, the first of equals.
pub fn argmax(row: &[f32]) -> u8 {
    argmax_without(row, None) as u8
}

/// The class of the largest logit other than the label's.
pub fn runner_up(row: &[f32], label: u8) -> usize {
    // Skipped, not multiplied by 0: all logits may be negative.
    argmax_without(row, Some(usize::from(label)))
}

/// The label's logit minus the largest other one; negative for an adversarial example.
pub fn margin(row: &[f32], label: u8) -> f32 {
    row[usize::from(label)] - row[runner_up(row, label)]
}

/// A gradient in the logits, `[B,classes]`: `value` at each `(class, value)` of image i, zero
/// elsewhere.
pub fn sparse_grad<const N: usize>(
    entries: &[[(usize, f32); N]],
    classes: usize,
    device: &Device,
) -> Result<Tensor> {
    let mut values = vec![0f32; entries.len() * classes];
    for (row, entries) in values.chunks_exact_mut(classes).zip(entries) {
        for &(class, value) in entries {
            row[class] += value;
        }
    }
    Ok(Tensor::from_vec(values, (entries.len(), classes), device)?)
}

fn argmax_without(row: &[f32], skipped: Option<usize>) -> usize {
    let mut best = usize::from(skipped == Some(0));
    for class in best + 1..row.len() {
        if Some(class) != skipped && row[class] > row[best] {
            best = class;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn argmax_runner_up_and_margin_hold_for_negative_logits() {
        let mut row = [-50.0; 10];
        (row[3], row[7]) = (-10.0, -12.0);
        assert_eq!(argmax(&row), 3);
        assert_eq!(runner_up(&row, 3), 7);
        assert_eq!(margin(&row, 3), 2.0);
        assert_eq!(margin(&row, 0), -40.0);
        assert_eq!(runner_up(&[0.0; 10], 0), 1);
    }

    #[test]
    fn the_class_count_is_the_models_and_a_label_beyond_it_is_refused() {
        let logits = Tensor::new(&[[0f32, 1.0, 2.0]], &Device::Cpu).unwrap();
        assert_eq!(check(&logits, &[7], &[2]).unwrap(), 3);
        let error = check(&logits, &[7], &[3]).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        assert!(error.to_string().starts_with("image 7: found label 3"));
        assert_eq!(check(&logits, &[7, 8], &[0, 0]).unwrap_err().exit_code(), 3);
        let one_class = Tensor::new(&[[0f32]], &Device::Cpu).unwrap();
        assert_eq!(check(&one_class, &[7], &[0]).unwrap_err().exit_code(), 3);
    }
}

//! Logits on the host: `[B,10]` comes in; classes, runners-up and margins go out.

use candle_core::{DType, Device, Tensor};

use base::{Error, Result};
use data::CLASSES;

/// The logits of one image.
pub type Row = [f32; CLASSES];

/// Copies logits to the host; `ids` name the images in errors.
///
/// # Errors
/// [`Error::NonFinite`] when a logit is not finite, [`Error::Data`] when there are not ten.
pub fn rows(logits: &Tensor, ids: &[u64]) -> Result<Vec<Row>> {
    if logits.dims() != [ids.len(), CLASSES] {
        let expected = format!("{:?}", [ids.len(), CLASSES]);
        return Err(Error::data(
            "logits",
            format!("{:?}", logits.dims()),
            expected,
        ));
    }
    let values = logits.detach().to_dtype(DType::F32)?.to_vec2::<f32>()?;
    let mut rows = Vec::with_capacity(ids.len());
    for (values, id) in values.iter().zip(ids) {
        if !values.iter().all(|z| z.is_finite()) {
            return Err(Error::NonFinite(format!(
                "image {id}: the model's logits are not finite"
            )));
        }
        let mut row = [0.0; CLASSES];
        row.copy_from_slice(values);
        rows.push(row);
    }
    Ok(rows)
}

/// The class of the largest logit, the first of equals.
pub fn predicted(row: &Row) -> u8 {
    largest(row, None) as u8
}

/// The class of the largest logit but the label's.
pub fn runner_up(row: &Row, label: u8) -> usize {
    // Leaving the label out, not multiplying it away: all logits may be negative.
    largest(row, Some(usize::from(label)))
}

/// How far the label is ahead: its logit less the largest other; negative once fooled.
pub fn margin(row: &Row, label: u8) -> f32 {
    row[usize::from(label)] - row[runner_up(row, label)]
}

/// `[B,10]`: `rows[i] = value` for each `(class, value)` of image i, zero elsewhere.
pub fn slopes<const N: usize>(entries: &[[(usize, f32); N]], device: &Device) -> Result<Tensor> {
    let mut values = vec![0f32; entries.len() * CLASSES];
    for (row, entries) in values.chunks_exact_mut(CLASSES).zip(entries) {
        for &(class, value) in entries {
            row[class] += value;
        }
    }
    Ok(Tensor::from_vec(values, (entries.len(), CLASSES), device)?)
}

fn largest(row: &Row, but: Option<usize>) -> usize {
    let mut best = usize::from(but == Some(0));
    for class in best + 1..CLASSES {
        if Some(class) != but && row[class] > row[best] {
            best = class;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn margins_of_negative_logits_leave_the_label_out() {
        let mut row = [-50.0; CLASSES];
        (row[3], row[7]) = (-10.0, -12.0);
        assert_eq!(predicted(&row), 3);
        assert_eq!(runner_up(&row, 3), 7);
        assert_eq!(margin(&row, 3), 2.0);
        assert_eq!(margin(&row, 0), -40.0);
        assert_eq!(runner_up(&[0.0; CLASSES], 0), 1);
    }
}

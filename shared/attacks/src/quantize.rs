//! Quantization to 8 bits and back.

use candle_core::{Device, Tensor};

use base::Result;
use data::IMAGE_BYTES;

/// Rounds floats in `[0,1]` to the nearest of the 256 levels.
pub fn round(floats: &[f32]) -> Vec<u8> {
    floats.iter().map(|x| (x * 255.0).round() as u8).collect()
}

/// Whole levels in a radius in `[0,1]` units; one of n / 255 is n levels, whatever its last bits.
pub fn levels(radius: f64) -> u8 {
    (255.0 * radius + 1e-3).floor() as u8
}

/// Brings bytes back to within so many levels of clean ones.
pub fn clamp(bytes: &mut [u8], clean: &[u8], levels: u8) {
    for (byte, &clean) in std::iter::zip(bytes, clean) {
        *byte = (*byte).clamp(clean.saturating_sub(levels), clean.saturating_add(levels));
    }
}

/// The f32 of a byte: `byte / 255`.
pub fn to_float(byte: u8) -> f32 {
    f32::from(byte) / 255.0
}

/// Whole images of bytes as the input of a model: `[B,3,32,32]`, `byte / 255`.
///
/// # Errors
/// [`base::Error::Tensor`] when the bytes are not a whole number of images.
pub fn to_tensor(bytes: &[u8], device: &Device) -> Result<Tensor> {
    let floats: Vec<f32> = bytes.iter().copied().map(to_float).collect();
    let shape = (bytes.len() / IMAGE_BYTES, 3, 32, 32);
    Ok(Tensor::from_vec(floats, shape, device)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives_a_round_trip_through_floats() {
        let bytes: Vec<u8> = (0..IMAGE_BYTES).map(|i| (i % 256) as u8).collect();
        let floats = to_tensor(&bytes, &Device::Cpu).unwrap();
        let floats = floats.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(round(&floats), bytes);
        assert_eq!(
            round(&[0.0, 0.499 / 255.0, 0.501 / 255.0, 1.0]),
            [0, 0, 1, 255]
        );
    }
}

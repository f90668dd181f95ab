//! Eight bits: floats in `[0,1]` come in, the bytes a store keeps and their distances go out.

use candle_core::{Device, Tensor};

use base::Result;
use data::IMAGE_BYTES;

/// Rounds each of these floats in `[0,1]` to the nearest of the 256 levels.
pub fn round(floats: &[f32]) -> Vec<u8> {
    floats.iter().map(|x| (x * 255.0).round() as u8).collect()
}

/// Whole images of bytes as a model sees them: `[B,3,32,32]`, `byte / 255`.
///
/// # Errors
/// [`base::Error::Tensor`] when the bytes are not a whole number of images.
pub fn to_tensor(bytes: &[u8], device: &Device) -> Result<Tensor> {
    let floats: Vec<f32> = bytes.iter().map(|&b| f32::from(b) / 255.0).collect();
    let shape = (bytes.len() / IMAGE_BYTES, 3, 32, 32);
    Ok(Tensor::from_vec(floats, shape, device)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives_the_way_to_floats_and_back() {
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

//! Eight bits: floats in `[0,1]` come in, the bytes a store keeps and their distances go out.

use candle_core::{Device, Tensor};

use crate::{Result, cifar10::PIXELS, nn::vectorised};

/// Rounds each of these floats in `[0,1]` to the nearest of the 256 levels.
pub fn round(floats: &[f32]) -> Vec<u8> {
    floats.iter().map(|x| (x * 255.0).round() as u8).collect()
}

/// Whole pictures of bytes as a net sees them: `[B,3,32,32]`, `byte / 255`.
///
/// # Errors
/// [`crate::Error::Tensor`] when the bytes are not a whole number of pictures.
pub fn to_tensor(bytes: &[u8], device: &Device) -> Result<Tensor> {
    let floats: Vec<f32> = bytes.iter().map(|&b| f32::from(b) / 255.0).collect();
    let shape = (bytes.len() / PIXELS, 3, 32, 32);
    Ok(Tensor::from_vec(floats, shape, device)?)
}

vectorised! {
    /// L2 and Linf between two pictures of bytes, in `[0,1]` units. The sums are of whole numbers, so
    /// every machine gets the same bits.
    pub fn distances(a: &[u8], b: &[u8]) -> (f64, f64) {
        // Of types that let the compiler do many at once.
        let pairs = || std::iter::zip(a, b);
        let difference = |(&a, &b): (&u8, &u8)| i32::from(i16::from(a) - i16::from(b));
        let square: i32 = pairs().map(difference).map(|d| d * d).sum();
        let largest = pairs().map(|(a, b)| a.abs_diff(*b)).fold(0, u8::max);
        (f64::from(square).sqrt() / 255.0, f64::from(largest) / 255.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives_the_way_to_floats_and_back() {
        let bytes: Vec<u8> = (0..PIXELS).map(|i| (i % 256) as u8).collect();
        let floats = to_tensor(&bytes, &Device::Cpu).unwrap();
        let floats = floats.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(round(&floats), bytes);
        assert_eq!(
            round(&[0.0, 0.499 / 255.0, 0.501 / 255.0, 1.0]),
            [0, 0, 1, 255]
        );
    }

    #[test]
    fn distances_are_in_units_of_the_pixels_range() {
        assert_eq!(
            distances(&[0, 10, 255], &[0, 13, 251]),
            (5.0 / 255.0, 4.0 / 255.0)
        );
        let (l2, linf) = distances(&[0; PIXELS], &[255; PIXELS]);
        assert!((l2 - (PIXELS as f64).sqrt()).abs() < 1e-12 && linf == 1.0);
    }
}

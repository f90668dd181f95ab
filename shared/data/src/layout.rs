//! Order of an image's bytes: planar (R, G, B), as in data sets and stores, and interleaved, as in image files and
//! NumPy arrays.

use crate::IMAGE_BYTES;

/// Bytes of one channel.
const PLANE: usize = IMAGE_BYTES / 3;

/// The planar bytes, `3x32x32`, of an image of interleaved ones, `32x32x3`.
pub fn planar(interleaved: &[u8]) -> Vec<u8> {
    let channels = (0..3).flat_map(|channel| interleaved.iter().skip(channel).step_by(3));
    channels.copied().collect()
}

/// The interleaved bytes, `32x32x3`, of an image of planar ones, `3x32x32`.
pub fn interleaved(planar: &[u8]) -> Vec<u8> {
    debug_assert_eq!(planar.len(), IMAGE_BYTES);
    let pixels = (0..PLANE).flat_map(|pixel| planar.iter().skip(pixel).step_by(PLANE));
    pixels.copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planar_and_interleaved_bytes_are_each_others_inverse() {
        let image: Vec<u8> = (0..IMAGE_BYTES).map(|i| (i * 7 % 251) as u8).collect();
        let pixels = interleaved(&image);
        assert_eq!(pixels[..4], [image[0], image[1024], image[2048], image[1]]);
        assert_eq!(planar(&pixels), image);
    }
}

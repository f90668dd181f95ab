//! Brightness: the V of HSV raised, hue and saturation kept (Smith, "Color gamut transform pairs", SIGGRAPH 1978).
//!
//! The order of operations is that of scikit-image's `rgb2hsv` and `hsv2rgb`, on which the last bit depends.

use super::{NoiseSource, Severity, byte};

pub fn apply(image: &[u8], severity: Severity, _: &mut dyn NoiseSource) -> Vec<u8> {
    let raise = severity.of([0.05, 0.1, 0.15, 0.2, 0.3]);
    let mut out = Vec::with_capacity(image.len());
    for pixel in image.chunks_exact(3) {
        let rgb = [pixel[0], pixel[1], pixel[2]].map(|value| f64::from(value) / 255.0);
        let [hue, saturation, value] = hsv(rgb);
        let value = (value + raise).clamp(0.0, 1.0);
        out.extend(rgb_of([hue, saturation, value]).map(byte));
    }
    out
}

/// Hue (in turns), saturation and value, each in `[0,1]`; of a gray pixel the hue is 0.
fn hsv([red, green, blue]: [f64; 3]) -> [f64; 3] {
    let value = red.max(green).max(blue);
    let range = value - red.min(green).min(blue);
    if range == 0.0 {
        return [0.0, 0.0, value];
    }
    // In sixths of a turn; of equal largest channels, the last decides.
    let hue = if blue == value {
        4.0 + (red - green) / range
    } else if green == value {
        2.0 + (blue - red) / range
    } else {
        (green - blue) / range
    };
    [(hue / 6.0).rem_euclid(1.0), range / value, value]
}

/// The inverse of [`hsv`].
fn rgb_of([hue, saturation, value]: [f64; 3]) -> [f64; 3] {
    let sector = (hue * 6.0).floor();
    let fraction = hue * 6.0 - sector;
    let low = value * (1.0 - saturation);
    let falling = value * (1.0 - fraction * saturation);
    let rising = value * (1.0 - (1.0 - fraction) * saturation);
    match sector as u8 % 6 {
        0 => [value, rising, low],
        1 => [falling, value, low],
        2 => [low, value, rising],
        3 => [low, falling, value],
        4 => [rising, low, value],
        _ => [value, low, falling],
    }
}

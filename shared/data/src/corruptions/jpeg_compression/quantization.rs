//! Quantization by the tables of ITU-T T.81, annex K, scaled by a quality.

use super::BLOCK;

/// Steps of the 64 coefficients, row-major.
pub struct Table([i32; BLOCK * BLOCK]);

#[rustfmt::skip]
const LUMA: [i32; BLOCK * BLOCK] = [
    16, 11, 10, 16, 24, 40, 51, 61,
    12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77,
    24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
];

#[rustfmt::skip]
const CHROMA: [i32; BLOCK * BLOCK] = [
    17, 18, 24, 47, 99, 99, 99, 99,
    18, 21, 26, 66, 99, 99, 99, 99,
    24, 26, 56, 99, 99, 99, 99, 99,
    47, 66, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99,
];

impl Table {
    /// The table of Y, for a quality of 1 to 100.
    pub fn luma(quality: i32) -> Self {
        Self::scaled(LUMA, quality)
    }

    /// The table of Cb and Cr.
    pub fn chroma(quality: i32) -> Self {
        Self::scaled(CHROMA, quality)
    }

    /// At quality 50 the table itself; libjpeg's scale in percent.
    fn scaled(table: [i32; BLOCK * BLOCK], quality: i32) -> Self {
        let percent = match quality {
            ..50 => 5000 / quality,
            _ => 200 - 2 * quality,
        };
        Self(table.map(|step| ((step * percent + 50) / 100).clamp(1, 255)))
    }

    /// Quantizes and dequantizes: input is 8 times the coefficients, output is not scaled; halves round away from 0.
    pub fn quantize(&self, block: &mut [i32; BLOCK * BLOCK]) {
        for (coefficient, step) in block.iter_mut().zip(self.0) {
            let divisor = 8 * step;
            let level = (coefficient.abs() + divisor / 2) / divisor;
            *coefficient = coefficient.signum() * level * step;
        }
    }
}

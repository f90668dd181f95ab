//! RGB to YCbCr and back (ITU-R BT.601, full range) in fixed point with 16 bits after the point.

const HALF: i32 = 1 << 15;

/// Y, Cb and Cr; the chroma are rounded half down.
pub fn ycc(rgb: [u8; 3]) -> [u8; 3] {
    let sum = |weights: [i32; 3], offset: i32| {
        let products = rgb.iter().zip(weights);
        let sum: i32 = products
            .map(|(&value, weight)| i32::from(value) * weight)
            .sum();
        ((sum + offset) >> 16) as u8
    };
    let middle = (128 << 16) + HALF - 1;
    [
        sum([19_595, 38_470, 7_471], HALF),
        sum([-11_059, -21_709, 32_768], middle),
        sum([32_768, -27_439, -5_329], middle),
    ]
}

/// Red, green and blue, clipped.
pub fn rgb([luma, blue, red]: [u8; 3]) -> [u8; 3] {
    let [blue, red] = [blue, red].map(|chroma| i32::from(chroma) - 128);
    let shifts = [
        (91_881 * red + HALF) >> 16,
        (-22_554 * blue - 46_802 * red + HALF) >> 16,
        (116_130 * blue + HALF) >> 16,
    ];
    shifts.map(|shift| (i32::from(luma) + shift).clamp(0, 255) as u8)
}

//! JPEG compression (ITU-T T.81): baseline, chroma at half the resolution, decoded again.
//!
//! Only what loses information is computed; the entropy coding between quantization and its inverse loses none. The
//! integer arithmetic is that of libjpeg's defaults (`islow` transforms, averaged chroma, triangle-filtered upsampling),
//! with which Pillow writes and reads.

mod color;
mod dct;
mod quantization;
mod sampling;

use super::{NoiseSource, Severity};
use crate::IMAGE_SIDE;
use color::{rgb, ycc};
use quantization::Table;

/// Side of a block.
const BLOCK: usize = 8;

pub fn apply(image: &[u8], severity: Severity, _: &mut dyn NoiseSource) -> Vec<u8> {
    let quality = severity.of([80, 65, 58, 50, 40]);
    let mut planes = [Vec::new(), Vec::new(), Vec::new()];
    for pixel in image.chunks_exact(3) {
        let converted = ycc([pixel[0], pixel[1], pixel[2]]);
        for (plane, value) in planes.iter_mut().zip(converted) {
            plane.push(value);
        }
    }
    let [luma, blue, red] = planes;
    let luma = coded(&luma, IMAGE_SIDE, &Table::luma(quality));
    let table = Table::chroma(quality);
    let [blue, red] = [blue, red].map(|plane| {
        let half = sampling::halved(&plane, IMAGE_SIDE);
        sampling::doubled(&coded(&half, IMAGE_SIDE / 2, &table), IMAGE_SIDE / 2)
    });
    let pixels = luma.iter().zip(&blue).zip(&red);
    pixels
        .flat_map(|((&luma, &blue), &red)| rgb([luma, blue, red]))
        .collect()
}

/// A square plane after its blocks have been transformed, quantized and transformed back.
fn coded(plane: &[u8], side: usize, table: &Table) -> Vec<u8> {
    let mut out = vec![0; plane.len()];
    let first = (0..side).step_by(BLOCK);
    for corner in first
        .clone()
        .flat_map(|y| first.clone().map(move |x| y * side + x))
    {
        let place = |i: usize| corner + i / BLOCK * side + i % BLOCK;
        let mut block: [i32; BLOCK * BLOCK] =
            std::array::from_fn(|i| i32::from(plane[place(i)]) - 128);
        dct::forward(&mut block);
        table.quantize(&mut block);
        dct::inverse(&mut block);
        for (i, value) in block.into_iter().enumerate() {
            out[place(i)] = (value + 128).clamp(0, 255) as u8;
        }
    }
    out
}

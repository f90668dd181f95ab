//! Contact sheet: clean images and their adversarial variants side by side in one image, and under every variant
//! its amplified difference from the clean image.

use std::io::Cursor;

use image::{ImageFormat, Rgb, RgbImage};

use crate::{IMAGE_BYTES, IMAGE_SIDE};
use base::{Error, Result};

const SIDE: u32 = IMAGE_SIDE as u32;

/// White pixels around each tile, before scaling; so every cell is equally wide and captions
/// outside the image can stand in equal columns.
const MARGIN: u32 = 1;

/// Width and height of a tile with its margin, before scaling.
const CELL: u32 = SIDE + 2 * MARGIN;

/// A clean image and its variants; images are [`IMAGE_BYTES`] planar bytes.
pub struct Strip<'a> {
    /// Name of the image in messages; it is not drawn.
    pub caption: String,
    /// The clean image.
    pub clean: &'a [u8],
    /// Names of attacks, each with the attacked image.
    pub variants: Vec<(String, &'a [u8])>,
}

/// Draws the strips under each other. A strip takes two rows of tiles: the clean image and its
/// variants, and under each of them `0.5 + amplify * (image - clean)`, mid-gray where nothing
/// was changed (so under the clean image all over). A tile is `32 * scale` pixels wide, with a
/// white margin of `scale`; scaling repeats pixels and blends nothing.
///
/// # Errors
/// [`Error::Data`] for an image of another length, [`Error::Usage`] for a sheet without strips
/// or too large for an image.
pub fn render(strips: &[Strip], scale: u32, amplify: f32) -> Result<RgbImage> {
    check(strips)?;
    let columns = strips.iter().map(|s| 1 + s.variants.len()).max();
    let size = |cells: usize| {
        let cells = u32::try_from(cells).ok()?;
        cells.checked_mul(CELL)?.checked_mul(scale)
    };
    let (width, height) = columns
        .and_then(|columns| Some((size(columns)?, size(2 * strips.len())?)))
        .filter(|&(width, height)| {
            (1..=MAX_PIXELS).contains(&(u64::from(width) * u64::from(height)))
        })
        .ok_or_else(|| Error::Usage(too_large(strips.len(), scale)))?;

    let mut sheet = RgbImage::from_pixel(width, height, Rgb([255; 3]));
    for (strip, row) in strips.iter().zip((0..).step_by(2)) {
        let variants = strip.variants.iter().map(|(_, pixels)| *pixels);
        for (image, column) in std::iter::once(strip.clean).chain(variants).zip(0..) {
            tile(&mut sheet, (column, row), scale, |i| image[i]);
            tile(&mut sheet, (column, row + 1), scale, |i| {
                difference(strip.clean[i], image[i], amplify)
            });
        }
    }
    Ok(sheet)
}

/// The image as the bytes of a PNG file.
///
/// # Errors
/// [`Error::Usage`] for an image without pixels.
pub fn png(image: &RgbImage) -> Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    image
        .write_to(&mut bytes, ImageFormat::Png)
        .map_err(|error| Error::Usage(format!("the contact sheet is no PNG image: {error}")))?;
    Ok(bytes.into_inner())
}

/// The most pixels of a sheet, a gigabyte and a half in memory.
const MAX_PIXELS: u64 = 1 << 29;

fn too_large(strips: usize, scale: u32) -> String {
    format!("a contact sheet of {strips} images at scale {scale} is empty or too large")
}

fn check(strips: &[Strip]) -> Result<()> {
    for strip in strips {
        let clean = ("clean", strip.clean);
        let variants = strip.variants.iter().map(|(name, p)| (name.as_str(), *p));
        for (name, pixels) in std::iter::once(clean).chain(variants) {
            if pixels.len() != IMAGE_BYTES {
                return Err(Error::data(
                    format!("contact sheet, {}, {name}", strip.caption),
                    format!("{} bytes", pixels.len()),
                    format!("{IMAGE_BYTES}"),
                ));
            }
        }
    }
    Ok(())
}

/// The amplified difference around mid-gray; the conversion to a byte clamps.
fn difference(clean: u8, image: u8, amplify: f32) -> u8 {
    let change = f32::from(image) - f32::from(clean);
    (127.5 + amplify * change).round() as u8
}

/// Draws one tile into a cell; `byte` gives a byte by its planar index.
fn tile(sheet: &mut RgbImage, (column, row): (u32, u32), scale: u32, byte: impl Fn(usize) -> u8) {
    let (left, top) = (
        (column * CELL + MARGIN) * scale,
        (row * CELL + MARGIN) * scale,
    );
    for y in 0..SIDE * scale {
        for x in 0..SIDE * scale {
            let index = ((y / scale) * SIDE + x / scale) as usize;
            let color = [0, 1, 2].map(|channel| byte(channel * IMAGE_BYTES / 3 + index));
            sheet.put_pixel(left + x, top + y, Rgb(color));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contact_sheet_shows_images_over_their_amplified_differences() {
        // Red rises from left to right, green and blue are constant.
        let clean: Vec<u8> = (0..IMAGE_BYTES)
            .map(|i| {
                if i < IMAGE_BYTES / 3 {
                    (i % 32) as u8
                } else {
                    100
                }
            })
            .collect();
        let mut variant = clean.clone();
        variant[5] += 10; // red of (5, 0)
        variant[2 * IMAGE_BYTES / 3 + 33] -= 20; // blue of (1, 1)
        variant[IMAGE_BYTES / 3] = 255; // green of (0, 0): saturates
        let strip = Strip {
            caption: "a frog".into(),
            clean: &clean,
            variants: vec![("fgsm".into(), &variant)],
        };
        let sheet = render(&[strip], 3, 4.0).unwrap();
        assert_eq!(sheet.dimensions(), (2 * 34 * 3, 2 * 34 * 3));

        let decoded = image::load_from_memory(&png(&sheet).unwrap()).unwrap();
        let decoded = decoded.to_rgb8();
        assert_eq!(decoded, sheet);
        // The middle of pixel (x, y) of the tile in a cell.
        let at = |column: u32, row: u32, x: u32, y: u32| {
            decoded
                .get_pixel((column * 34 + 1 + x) * 3 + 1, (row * 34 + 1 + y) * 3 + 1)
                .0
        };
        assert_eq!(decoded.get_pixel(2, 2).0, [255; 3], "the margin");
        assert_eq!(at(0, 0, 31, 31), [31, 100, 100]);
        assert_eq!(at(1, 0, 5, 0), [15, 100, 100]);
        assert_eq!(at(0, 1, 9, 9), [128; 3], "clean minus clean");
        assert_eq!(at(1, 1, 9, 9), [128; 3], "an unchanged pixel");
        assert_eq!(at(1, 1, 5, 0), [168, 128, 128]);
        assert_eq!(at(1, 1, 1, 1), [128, 128, 48]);
        assert_eq!(at(1, 1, 0, 0), [128, 255, 128]);
    }

    #[test]
    fn sheets_of_no_strips_or_wrong_image_sizes_are_refused() {
        let (clean, short) = (vec![0; IMAGE_BYTES], vec![0; IMAGE_BYTES - 1]);
        let strip = |pixels| Strip {
            caption: "a frog".into(),
            clean: &clean,
            variants: vec![("bim".into(), pixels)],
        };
        let error = render(&[strip(&short)], 1, 1.0).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        assert!(error.to_string().contains("a frog, bim"), "{error}");
        for (strips, scale) in [
            (vec![], 1),
            (vec![strip(&clean)], 0),
            (vec![strip(&clean)], u32::MAX),
        ] {
            assert_eq!(render(&strips, scale, 1.0).unwrap_err().exit_code(), 2);
        }
    }
}

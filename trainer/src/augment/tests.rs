//! Augmentation equals PyTorch's, is exact where nothing changes, and is deterministic.

use data::IMAGE_BYTES;
use proptest::prelude::*;

use super::*;

fn image(seed: u64) -> Vec<u8> {
    let mut stream = Stream::new(seed, "image", &[]);
    (0..IMAGE_BYTES).map(|_| stream.below(256) as u8).collect()
}

fn apply(augment: Augment, pixels: &[u8], stream: &mut Stream) -> Vec<f32> {
    let mut out = vec![f32::NAN; IMAGE_BYTES];
    augment.draw(stream).crop_resize(pixels, &mut out);
    out
}

fn floats(pixels: &[u8]) -> Vec<f32> {
    pixels.iter().map(|&byte| f32::from(byte) / 255.0).collect()
}

#[test]
fn no_crop_and_a_whole_crop_are_exact() {
    let pixels = image(1);
    let whole = Crop::Resized {
        scale: (1.0, 1.0),
        ratio: (1.0, 1.0),
    };
    for crop in [Crop::None, Crop::Pad(0), whole] {
        let augment = Augment { crop, flip: false };
        let out = apply(augment, &pixels, &mut Stream::new(2, "augment", &[]));
        assert_eq!(out, floats(&pixels), "{crop:?}");
    }
}

// import torch
// x = torch.tensor([[[[0., 100., 255.], [50., 200., 10.]]]]) / 255
// y = torch.nn.functional.interpolate(x, size=(32, 32), mode="bilinear", align_corners=False)[0, 0]
// for r, c in ((0, 0), (5, 9), (8, 16), (15, 15), (16, 20), (20, 3), (23, 27), (31, 31)):
//     print(f"({r}, {c}, {y[r, c].item():.7f}),")
#[test]
fn resizing_equals_pytorch() {
    let expected = [
        (0, 0, 0.0000000),
        (5, 9, 0.1531863),
        (8, 16, 0.4309226),
        (15, 15, 0.5532897),
        (16, 20, 0.5537013),
        (20, 3, 0.1531863),
        (23, 27, 0.0692402),
        (31, 31, 0.0392157),
    ];
    let (top, left, height, width) = (7, 29, 2, 3);
    let mut pixels = image(3);
    for plane in 0..3 {
        let at = |row, column| {
            plane * IMAGE_SIZE * IMAGE_SIZE + (top + row) * IMAGE_SIZE + left + column
        };
        pixels[at(0, 0)..=at(0, 2)].copy_from_slice(&[0, 100, 255]);
        pixels[at(1, 0)..=at(1, 2)].copy_from_slice(&[50, 200, 10]);
    }
    let mut out = vec![f32::NAN; IMAGE_BYTES];
    window(top, left, (height, width)).crop_resize(&pixels, &mut out);
    for plane in out.chunks_exact(IMAGE_SIZE * IMAGE_SIZE) {
        for (row, column, value) in expected {
            let found: f32 = plane[row * IMAGE_SIZE + column];
            assert!(
                (found - value).abs() < 1e-6,
                "({row}, {column}): {found} {value}"
            );
        }
    }
}

#[test]
fn padded_crops_have_every_offset_and_zeros_around() {
    let pixels = image(4);
    let mut seen = std::collections::BTreeSet::new();
    let augment = Augment {
        crop: Crop::Pad(4),
        flip: false,
    };
    let mut stream = Stream::new(5, "augment", &[]);
    for _ in 0..2000 {
        let mut replay = stream.clone();
        let (top, left) = (replay.below(9), replay.below(9));
        let out = apply(augment, &pixels, &mut stream);
        seen.insert((top, left));
        for (i, &float) in out.iter().enumerate() {
            let (plane, row, column) = (i / 1024, i / 32 % 32 + top, i % 32 + left);
            let inside = (4..36).contains(&row) && (4..36).contains(&column);
            let expected = match inside {
                true => f32::from(pixels[plane * 1024 + (row - 4) * 32 + column - 4]) / 255.0,
                false => 0.0,
            };
            assert_eq!(float, expected);
        }
    }
    assert_eq!(seen.len(), 81);
}

#[test]
fn half_the_images_are_flipped() {
    let pixels = image(6);
    let plain = floats(&pixels);
    let mut mirrored = plain.clone();
    mirrored.chunks_exact_mut(32).for_each(<[f32]>::reverse);
    let augment = Augment {
        crop: Crop::None,
        flip: true,
    };
    let mut flips = 0;
    for id in 0..1000 {
        let out = apply(augment, &pixels, &mut Stream::new(7, "augment", &[id]));
        assert!(out == plain || out == mirrored);
        flips += u32::from(out == mirrored);
    }
    assert!((450..550).contains(&flips), "{flips}");
}

#[test]
fn resized_crops_have_the_given_area_and_ratio_and_fall_back_to_the_center() {
    let mut stream = Stream::new(8, "augment", &[]);
    let mut area = 0.0;
    for _ in 0..5000 {
        let part = rectangle((0.45, 1.0), (0.75, 4.0 / 3.0), &mut stream);
        let (h, w) = (part.height as f64, part.width as f64);
        assert!(part.top + part.height <= 32 && part.left + part.width <= 32);
        // Half a pixel of rounding on each side.
        assert!((h + 0.5) * (w + 0.5) >= 0.45 * 1024.0);
        assert!((w + 0.5) / (h - 0.5) >= 0.75 && (w - 0.5) / (h + 0.5) <= 4.0 / 3.0);
        area += h * w / 1024.0 / 5000.0;
    }
    // Uniform in 0.45..1 would be 0.725; the largest are refused where they do not fit.
    assert!((0.66..0.725).contains(&area), "{area}");

    let wide = rectangle((1.0, 1.0), (2.0, 3.0), &mut stream);
    assert_eq!(wide, window(8, 0, (16, 32)));
}

#[test]
fn augmentations_parse_back_from_their_display() {
    for (name, augment) in NAMED {
        assert_eq!(name.parse(), Ok(augment));
        assert_eq!(augment.to_string(), name);
        let text = toml::to_string(&augment).unwrap();
        assert_eq!(toml::from_str::<Augment>(&text).unwrap(), augment, "{text}");
    }
    assert!("crop".parse::<Augment>().is_err());
}

proptest! {
    #[test]
    fn augmentation_is_deterministic_and_within_0_and_1(seed: u64, id: u64, extreme: bool) {
        let mut pixels = image(seed);
        if extreme {
            pixels.iter_mut().for_each(|byte| *byte = if *byte < 128 { 0 } else { 255 });
        }
        for (_, augment) in NAMED {
            let once = apply(augment, &pixels, &mut Stream::new(seed, "augment", &[id]));
            let again = apply(augment, &pixels, &mut Stream::new(seed, "augment", &[id]));
            prop_assert_eq!(&once, &again);
            prop_assert!(once.iter().all(|float| (0.0..=1.0).contains(float)));
        }
    }
}

//! Tests of the corruptions without reference values: random numbers have their distributions, flat images stay flat,
//! a higher severity changes more.

use std::collections::BTreeSet;

use super::*;
use crate::synthetic;

/// Images of structure, planar.
fn images() -> Vec<Vec<u8>> {
    let classes = 0..synthetic::SHAPES.len() as u8;
    classes
        .map(|class| synthetic::draw(7, class.into(), class))
        .collect()
}

fn apply(name: &str, image: &[u8], severity: usize, id: u64) -> Vec<u8> {
    let row = Corruption::named(name).unwrap();
    let severity = Severity::ALL[severity - 1];
    let mut noise = KeyedNoise::new(3, row, severity, id);
    row.computed.unwrap().apply(image, severity, &mut noise)
}

#[test]
fn the_corruptions_have_unique_names_and_groups_of_three_or_four() {
    let names: BTreeSet<&str> = CORRUPTIONS.iter().map(|row| row.name).collect();
    assert_eq!(names.len(), CORRUPTIONS.len());
    for (group, count) in [
        (Group::Noise, 3),
        (Group::Blur, 4),
        (Group::Weather, 4),
        (Group::Digital, 4),
    ] {
        let of_group = CORRUPTIONS.iter().filter(|row| row.group == group);
        assert_eq!(of_group.count(), count);
    }
    assert!(Corruption::named("gaussian").is_none());
    assert_eq!("5".parse(), Ok(Severity::ALL[4]));
    for wrong in ["0", "6", "05", "1.0", ""] {
        assert!(wrong.parse::<Severity>().is_err(), "{wrong}");
    }
}

#[test]
fn a_higher_severity_of_a_corruption_changes_images_more() {
    let images = images();
    for (row, computed) in Corruption::all_computed() {
        let distance = |severity: Severity| -> f64 {
            let squares = images.iter().zip(0..).map(|(image, id)| {
                let mut noise = KeyedNoise::new(0, row, severity, id);
                let corrupted = computed.apply(image, severity, &mut noise);
                assert_eq!(corrupted.len(), IMAGE_BYTES);
                let pairs = image.iter().zip(&corrupted);
                let squares = pairs.map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2));
                squares.sum::<f64>()
            });
            squares.sum()
        };
        let distances = Severity::ALL.map(distance);
        // The authors' parameters of glass blur are in no order of strength.
        let ordered = match row.name {
            "glass_blur" => distances[0] < distances[4],
            _ => distances.is_sorted_by(|a, b| a < b),
        };
        assert!(distances[0] > 0.0 && ordered, "{}: {distances:?}", row.name);
    }
}

#[test]
fn noise_depends_on_seed_corruption_image_and_severity_alone() {
    let image = &images()[0];
    let once = apply("gaussian_noise", image, 5, 1);
    assert_eq!(once, apply("gaussian_noise", image, 5, 1));
    assert_ne!(once, apply("gaussian_noise", image, 5, 2));
    let row = Corruption::named("gaussian_noise").unwrap();
    let first =
        |seed, severity: usize| KeyedNoise::new(seed, row, Severity::ALL[severity - 1], 0).normal();
    assert_ne!(first(0, 1), first(1, 1));
    assert_ne!(first(0, 1), first(0, 2));
}

#[test]
fn noise_has_its_distribution() {
    let gray = vec![102; IMAGE_BYTES];
    let moments = |name: &str| {
        let values = (0..20).flat_map(|id| apply(name, &gray, 5, id));
        // Bytes are cut off: half a level is lost on average.
        let values: Vec<f64> = values.map(|byte| (f64::from(byte) + 0.5) / 255.0).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let squares = values.iter().map(|value| (value - mean).powi(2));
        (mean, squares.sum::<f64>() / values.len() as f64)
    };
    // A normal number of deviation 0.1 about 0.4.
    let (mean, variance) = moments("gaussian_noise");
    assert!((mean - 0.4).abs() < 0.003 && (variance / 0.01 - 1.0).abs() < 0.05);
    // A fiftieth of a Poisson number of mean 20: variance 20 / 50^2.
    let (mean, variance) = moments("shot_noise");
    assert!((mean - 0.4).abs() < 0.003 && (variance / 0.008 - 1.0).abs() < 0.05);

    let hit = apply("impulse_noise", &gray, 5, 0);
    let share = |wanted: u8| {
        let of = hit.iter().filter(|byte| **byte == wanted).count();
        of as f64 / IMAGE_BYTES as f64
    };
    assert!((share(0) - 0.035).abs() < 0.015 && (share(255) - 0.035).abs() < 0.015);
    assert_eq!(share(0) + share(255) + share(102), 1.0);
}

#[test]
fn poisson_numbers_of_every_mean_have_mean_and_variance() {
    let row = Corruption::named("shot_noise").unwrap();
    for mean in [0.0, 0.2, 3.0, 50.0, 500.0] {
        let mut noise = KeyedNoise::new(0, row, Severity::ALL[0], 0);
        let count = 20_000;
        let numbers: Vec<f64> = (0..count).map(|_| noise.poisson(mean)).collect();
        let found = numbers.iter().sum::<f64>() / f64::from(count);
        let squares = numbers.iter().map(|number| (number - found).powi(2));
        let variance = squares.sum::<f64>() / f64::from(count);
        let tolerance = 4.0 * (mean / f64::from(count)).sqrt();
        assert!((found - mean).abs() <= tolerance, "{mean}: {found}");
        assert!((variance - mean).abs() <= 0.05 * mean, "{mean}: {variance}");
    }
}

#[test]
fn flat_images_stay_flat_under_blur_contrast_and_pixelation() {
    for level in [0u8, 1, 77, 128, 254, 255] {
        let flat = vec![level; IMAGE_BYTES];
        for name in ["defocus_blur", "zoom_blur", "contrast", "pixelate"] {
            for severity in 1..=5 {
                let corrupted = apply(name, &flat, severity, 0);
                // A level is lost where the float is a little below the whole level.
                let near = corrupted.iter().all(|byte| level.wrapping_sub(*byte) <= 1);
                assert!(near, "{name} {severity} of {level}: {corrupted:?}");
            }
        }
    }
}

#[test]
fn brightness_raises_value_and_keeps_hue_and_saturation() {
    let rgb = |image: &[u8]| [image[0], image[1024], image[2048]];
    let of = |color: [u8; 3]| {
        let image = color.map(|value| vec![value; 1024]).concat();
        rgb(&apply("brightness", &image, 5, 0))
    };
    // V by 0.3; at 1 it ends.
    assert_eq!(of([51, 51, 51]), [127, 127, 127]);
    assert_eq!(of([0, 0, 0]), [76, 76, 76]);
    assert_eq!(of([255, 0, 0]), [255, 0, 0]);
    let [red, green, blue] = of([102, 51, 0]);
    assert_eq!((red, blue), (178, 0));
    assert!(green.abs_diff(89) <= 1, "{green}");
}

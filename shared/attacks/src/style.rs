//! Style images: for an image one of another class of its split, at random.

use base::{Error, Result, random::Stream};
use data::Image;

/// Where style images come from. Only attacks that take one call it.
pub trait StyleSource: Sync {
    /// The bytes of the style image for the image of this id and label, the same for the same
    /// arguments.
    ///
    /// # Errors
    /// When there is none for this image.
    fn style(&self, seed: u64, id: u64, label: u8) -> Result<Vec<u8>>;
}

/// Style images from a whole split: a random image of another class.
pub struct SplitStyles<'a>(pub &'a [Image]);

impl StyleSource for SplitStyles<'_> {
    /// # Errors
    /// [`Error::Data`] when the split holds no image of another class.
    fn style(&self, seed: u64, id: u64, label: u8) -> Result<Vec<u8>> {
        let split = self.0;
        if split.iter().all(|image| image.label == label) {
            return Err(Error::data(
                format!("style image of image {id}"),
                format!("only class {label} in its split"),
                "an image of another class",
            ));
        }
        let mut stream = Stream::new(seed, "style", &[id]);
        // Rejection sampling: uniform over all that fit, and it ends, since one of them exists.
        loop {
            let image = &split[stream.below(split.len())];
            if image.label != label {
                return Ok(image.pixels.to_vec());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use data::IMAGE_BYTES;

    fn split(labels: &[u8]) -> Vec<Image> {
        let image = |(index, &label): (usize, &u8)| Image {
            source_index: index as u32,
            label,
            pixels: vec![index as u8; IMAGE_BYTES].into(),
        };
        labels.iter().enumerate().map(image).collect()
    }

    #[test]
    fn a_style_image_is_of_another_class_and_all_of_them_are_drawn() {
        let images = split(&[0, 1, 0, 2, 1]);
        let styles = SplitStyles(&images);
        let mut drawn = [0; 5];
        for id in 0..300 {
            let style = styles.style(5, id, 0).unwrap();
            assert_eq!(style, styles.style(5, id, 0).unwrap());
            drawn[usize::from(style[0])] += 1;
        }
        assert_eq!((drawn[0], drawn[2]), (0, 0));
        assert!(
            [1, 3, 4].iter().all(|&place| drawn[place] > 60),
            "{drawn:?}"
        );
        let one_class = split(&[3, 3]);
        let refused = SplitStyles(&one_class).style(5, 1, 3).unwrap_err();
        assert_eq!(refused.exit_code(), 3);
    }
}

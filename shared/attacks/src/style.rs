//! Which image lends its style: an image's id and label come in, the place of an image of
//! another class of the same split goes out.

use base::{Error, Result, random::Stream};

/// A random one of `labels` (the labels of a whole split, in its order) that is not `label`,
/// the same for the same `(seed, id)` and labels.
///
/// # Errors
/// [`Error::Data`] when the split holds no image of another class.
pub fn style_of(seed: u64, id: u64, label: u8, labels: &[u8]) -> Result<usize> {
    if labels.iter().all(|&other| other == label) {
        return Err(Error::data(
            format!("style image of image {id}"),
            format!("only class {label} in its split"),
            "an image of another class",
        ));
    }
    let mut stream = Stream::new(seed, "style", &[id]);
    // Drawing until it fits is uniform over all that fit, and ends: one of them exists.
    loop {
        let place = stream.below(labels.len());
        if labels[place] != label {
            return Ok(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_style_picture_is_of_another_class_and_all_of_them_are_drawn() {
        let labels = [0, 1, 0, 2, 1];
        let mut drawn = [0; 5];
        for id in 0..300 {
            let place = style_of(5, id, 0, &labels).unwrap();
            assert_eq!(place, style_of(5, id, 0, &labels).unwrap());
            drawn[place] += 1;
        }
        assert_eq!((drawn[0], drawn[2]), (0, 0));
        assert!(
            [1, 3, 4].iter().all(|&place| drawn[place] > 60),
            "{drawn:?}"
        );
        assert_eq!(style_of(5, 1, 3, &[3, 3]).unwrap_err().exit_code(), 3);
    }
}

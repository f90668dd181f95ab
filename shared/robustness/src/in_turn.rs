//! Attacks that try several target classes on an image, one after the other until one succeeds. When few images are
//! left, several attempts on each are made side by side, as copies of the image in one batch: the outcomes are the
//! same, and a batch of a few images takes almost as long as one of many.

use base::Result;

use crate::{Batch, Outcome};

/// The most images and copies in a batch with copies.
const SIDE_BY_SIDE: usize = 64;

/// An image of the batch, and which attempt on it is made.
#[derive(Clone, Copy, Debug)]
pub struct ImageCopy {
    /// The image's row.
    pub row: usize,
    /// Number of the attempt, from 0.
    pub attempt: usize,
}

/// Copies in a batch; those of an image stand together, in the order of their attempts.
pub struct Copies(Vec<ImageCopy>);

impl Copies {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = ImageCopy> {
        self.0.iter().copied()
    }

    /// Their images, as a batch.
    pub fn images(&self, batch: &Batch) -> Batch {
        batch.select(&self.iter().map(|copy| copy.row).collect::<Vec<_>>())
    }

    /// For each copy the place of its image's first copy.
    pub fn firsts(&self) -> Vec<usize> {
        let mut firsts: Vec<usize> = Vec::with_capacity(self.0.len());
        for (place, copy) in self.iter().enumerate() {
            let first = match firsts.last() {
                Some(&first) if self.0[first].row == copy.row => first,
                _ => place,
            };
            firsts.push(first);
        }
        firsts
    }
}

/// Makes up to `attempts` attempts on each image: its outcome is that of the first success. `attack` returns an
/// outcome for each copy; it may leave out copies whose image has a success in an earlier attempt.
pub fn in_turn(
    batch: &Batch,
    attempts: usize,
    mut attack: impl FnMut(&Copies) -> Result<Vec<Outcome>>,
) -> Result<Vec<Outcome>> {
    let mut outcomes: Vec<Outcome> = vec![None; batch.len()];
    let mut next = 0;
    while next < attempts {
        let open: Vec<usize> = (0..batch.len())
            .filter(|&row| outcomes[row].is_none())
            .collect();
        if open.is_empty() {
            break;
        }
        // Most images that can be fooled are by the first attempt.
        let at_once = match next {
            0 => 1,
            _ => (SIDE_BY_SIDE / open.len()).clamp(1, attempts - next),
        };
        let numbers = next..next + at_once;
        let of_image = |&row: &usize| {
            numbers
                .clone()
                .map(move |attempt| ImageCopy { row, attempt })
        };
        let copies = Copies(open.iter().flat_map(of_image).collect());
        for (copy, outcome) in copies.iter().zip(attack(&copies)?) {
            if outcomes[copy.row].is_none() {
                outcomes[copy.row] = outcome;
            }
        }
        next += at_once;
    }
    Ok(outcomes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outcome_of_attempts_side_by_side_is_that_of_the_first_success() {
        let batch = Batch {
            clean: vec![0.0; 3 * data::IMAGE_BYTES],
            labels: vec![0; 3],
            ids: vec![0; 3],
        };
        // Attempts that succeed on each image.
        let successes: [&[usize]; 3] = [&[0, 3], &[4, 6], &[]];
        let mut batches = Vec::new();
        let outcomes = in_turn(&batch, 9, |copies| {
            batches.push(copies.firsts());
            let of = |copy: ImageCopy| {
                let succeeds = successes[copy.row].contains(&copy.attempt);
                succeeds.then(|| vec![copy.attempt as f32])
            };
            Ok(copies.iter().map(of).collect())
        });
        assert_eq!(outcomes.unwrap(), [Some(vec![0.0]), Some(vec![4.0]), None]);
        let copies = [vec![0; 8], vec![8; 8]].concat();
        assert_eq!(batches, [vec![0, 1, 2], copies]);
    }
}

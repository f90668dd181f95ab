//! Class-balanced random subset of labeled images.

use base::{Error, Result, random};

/// The indices, ascending, of `count` images with these labels: equally many of each class, drawn by the seed.
///
/// # Errors
/// [`Error::Usage`] when `count` is no multiple of the number of classes or at least one class has too few images.
pub fn balanced_subset(
    labels: &[u8],
    classes: usize,
    count: usize,
    seed: u64,
) -> Result<Vec<usize>> {
    if count == 0 || !count.is_multiple_of(classes) {
        return Err(Error::Usage(format!(
            "limit {count}: it must be a multiple of {classes}, and at least {classes}, so that classes are balanced"
        )));
    }
    let each = count / classes;
    let mut left = vec![each; classes];
    let mut chosen = Vec::with_capacity(count.min(labels.len()));
    for index in random::permutation(labels.len(), seed, "subset", &[]) {
        let left = &mut left[usize::from(labels[index])];
        if *left > 0 {
            *left -= 1;
            chosen.push(index);
        }
    }
    if let Some(missing) = left.into_iter().max().filter(|missing| *missing > 0) {
        let rarest = each - missing;
        return Err(Error::Usage(format!(
            "limit {count} asks for {each} images of each class: the rarest has {rarest}"
        )));
    }
    chosen.sort_unstable();
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subset_is_balanced_and_drawn_by_the_seed() {
        let labels: Vec<u8> = (0..90).map(|i| i / 30).collect();
        let subset = balanced_subset(&labels, 3, 30, 1).unwrap();
        assert_eq!(subset.len(), 30);
        assert!(subset.is_sorted_by(|a, b| a < b));
        for class in 0..3 {
            let of_class = subset.iter().filter(|&&index| labels[index] == class);
            assert_eq!(of_class.count(), 10);
        }
        assert_eq!(subset, balanced_subset(&labels, 3, 30, 1).unwrap());
        assert_ne!(subset, balanced_subset(&labels, 3, 30, 2).unwrap());
        let all: Vec<usize> = (0..90).collect();
        assert_eq!(balanced_subset(&labels, 3, 90, 1).unwrap(), all);
    }

    #[test]
    fn a_subset_that_cannot_be_balanced_is_a_usage_error() {
        let refusal = |labels: &[u8], count| {
            let error = balanced_subset(labels, 3, count, 0).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            error.to_string()
        };
        assert!(refusal(&[0, 1, 2], 2).contains("multiple of 3"));
        assert!(refusal(&[0, 1, 2], 0).contains("at least 3"));
        assert!(refusal(&[0, 0, 1, 2, 2], 6).contains("the rarest has 1"));
    }
}

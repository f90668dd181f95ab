//! Mixed set of a split: each image once, clean or as one attack's sample, by a seeded permutation. Table 2 and the
//! detector are evaluated on it.

use base::random::permutation;
use store::InMemorySplit;

/// The variant of each row: a share `1 - share` clean, the rest in equal parts.
pub fn variants(table: &InMemorySplit, share: f64, seed: u64) -> Vec<usize> {
    let attacks = table.attacks.len();
    let attacked = match attacks {
        0 => 0,
        _ => (share * table.len() as f64).round() as usize,
    };
    let mut variants = vec![0; table.len()];
    let first = table.ids.first().copied().unwrap_or(0);
    let order = permutation(table.len(), seed, "mixed", &[first]);
    for (position, &row) in order[..attacked].iter().enumerate() {
        variants[row] = 1 + position % attacks;
    }
    variants
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mixed_set_has_the_share_and_equal_parts() {
        let table = InMemorySplit {
            ids: (100..160).collect(),
            attacks: ["a", "b", "c"].map(String::from).to_vec(),
            ..InMemorySplit::default()
        };
        let variants = variants(&table, 0.5, 3);
        let count = |variant| variants.iter().filter(|v| **v == variant).count();
        assert_eq!([0, 1, 2, 3].map(count), [30, 10, 10, 10]);
        assert_eq!(variants, super::variants(&table, 0.5, 3));
        assert_ne!(variants, super::variants(&table, 0.5, 4));
    }
}

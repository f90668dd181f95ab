//! Class names: what is allowed as one, the order of class folders, the one-name-a-line file.

use std::cmp::Ordering;

/// The most classes a data set can have: labels are bytes.
pub const MAX_CLASSES: usize = 256;

/// Bytes of the longest name allowed.
const MAX_NAME_BYTES: usize = 100;

/// Refuses what is no list of class names: fewer than 2 or more than [`MAX_CLASSES`], names that are empty,
/// repeated, too long, or no names of folders. Returns what was found.
pub fn check_class_names(names: &[String]) -> Result<(), String> {
    if !(2..=MAX_CLASSES).contains(&names.len()) {
        return Err(format!("{} names of classes", names.len()));
    }
    for (index, name) in names.iter().enumerate() {
        let is_name = !name.is_empty()
            && name.len() <= MAX_NAME_BYTES
            && name != "."
            && name != ".."
            && !name.chars().any(|c| c == '/' || c.is_control());
        if !is_name || names[..index].contains(name) {
            return Err(format!("'{}'", name.escape_debug()));
        }
    }
    Ok(())
}

/// The order of class folders: alphabetical whatever the case, numbers by their value.
pub fn order(a: &str, b: &str) -> Ordering {
    let key = |name: &str| chunks(&name.to_lowercase());
    key(a).cmp(&key(b)).then_with(|| a.cmp(b))
}

/// A part of a name; numbers precede letters, as in ASCII.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Chunk {
    /// Without leading zeros, by length and then by digits.
    Number(usize, String),
    Text(String),
}

fn chunks(name: &str) -> Vec<Chunk> {
    let characters: Vec<char> = name.chars().collect();
    let runs = characters.chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit());
    runs.map(|run| {
        let text: String = run.iter().collect();
        if run[0].is_ascii_digit() {
            let digits = text.trim_start_matches('0');
            Chunk::Number(digits.len(), digits.into())
        } else {
            Chunk::Text(text)
        }
    })
    .collect()
}

/// The names in a file of one a line; blank lines are skipped.
pub fn from_lines(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(String::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DATASETS;

    #[test]
    fn class_folders_are_sorted_by_number_and_without_regard_to_case() {
        let mut names = ["class10", "class2", "Truck", "ship", "class1", "airplane"];
        names.sort_by(|a, b| order(a, b));
        assert_eq!(
            names,
            ["airplane", "class1", "class2", "class10", "ship", "Truck"]
        );
        for spec in DATASETS {
            assert!(
                spec.classes.is_sorted_by(|a, b| order(a, b).is_lt()),
                "{}",
                spec.name
            );
        }
    }

    #[test]
    fn invalid_class_names_and_class_counts_are_refused() {
        let numbered = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
        let with = |name: &str| {
            let mut names = numbered(10);
            names[3] = name.into();
            check_class_names(&names)
        };
        with("a cat").unwrap();
        for wrong in ["", "..", "a/b", "5", "a\nb", &"x".repeat(101)] {
            assert!(with(wrong).is_err(), "{wrong:?}");
        }
        for count in [2, 100, 256] {
            check_class_names(&numbered(count)).unwrap();
        }
        for count in [0, 1, 257] {
            assert!(check_class_names(&numbered(count)).is_err(), "{count}");
        }
    }
}

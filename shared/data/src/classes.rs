//! Names of classes: what is allowed as one, in which order class folders are labels, and the official names
//! file of the binary form.

use std::cmp::Ordering;

use super::{CLASS_NAMES, CLASSES};

/// The names file of the official binary form, one name a line.
pub const NAMES_FILE: &str = "batches.meta.txt";

/// The longest name.
const LONGEST: usize = 100;

/// Refuses what is no list of class names: another number than [`CLASSES`], names that are empty, twice
/// there, too long, or no names of folders. Returns what was found.
pub fn check_class_names(names: &[String]) -> Result<(), String> {
    if names.len() != CLASSES {
        return Err(format!(
            "{} names, where there are {CLASSES} classes",
            names.len()
        ));
    }
    for (index, name) in names.iter().enumerate() {
        let is_name = !name.is_empty()
            && name.len() <= LONGEST
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

/// A part of a name; numbers come before letters, as in ASCII.
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
        match run[0].is_ascii_digit() {
            true => {
                let digits = text.trim_start_matches('0');
                Chunk::Number(digits.len(), digits.into())
            }
            false => Chunk::Text(text),
        }
    })
    .collect()
}

/// CIFAR-10's own names.
pub fn official() -> Vec<String> {
    CLASS_NAMES.map(String::from).to_vec()
}

/// The names of a names file: its lines that are not blank.
pub fn parse(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(String::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_folders_are_sorted_by_number_and_without_regard_to_case() {
        let mut names = ["class10", "class2", "Truck", "ship", "class1", "airplane"];
        names.sort_by(|a, b| order(a, b));
        assert_eq!(
            names,
            ["airplane", "class1", "class2", "class10", "ship", "Truck"]
        );
        let mut official = CLASS_NAMES;
        official.sort_by(|a, b| order(a, b));
        assert_eq!(official, CLASS_NAMES);
    }

    #[test]
    fn what_is_no_class_name_is_refused() {
        let with = |name: &str| {
            let mut names = official();
            names[3] = name.into();
            check_class_names(&names)
        };
        with("a cat").unwrap();
        for wrong in ["", "..", "a/b", "dog", "a\nb", &"x".repeat(101)] {
            assert!(with(wrong).is_err(), "{wrong:?}");
        }
        assert!(check_class_names(&official()[1..]).is_err());
    }
}

//! Merging rows of stores: resumed merges, rows that differ, uncommitted rows.

use super::*;
use crate::Merger;

fn open_merger(path: &Path) -> Merger {
    Merger::create_or_resume(path, &spec(), "cpu").unwrap()
}

fn images_in(merger: &Merger) -> u64 {
    let counts = merger.store().counts().unwrap();
    counts.iter().map(|(images, _)| images).sum()
}

/// Images of these ids, and their samples image by image.
fn rows_of(range: std::ops::Range<usize>) -> (Vec<ImageRow>, Vec<SampleRow>) {
    let images = images()[range.clone()].to_vec();
    let samples = range.flat_map(|row| (1..=6).map(move |attack| samples_of(attack)[row].clone()));
    (images, samples.collect())
}

#[test]
fn a_resumed_merge_refuses_rows_that_differ_from_those_in_the_file() {
    for change in 0..3 {
        let (_folder, path) = new_store();
        let (mut images, mut samples) = rows_of(0..5);
        match change {
            0 => images[3].label = 9,
            1 => samples[20].steps += 1,
            _ => {
                samples.remove(20);
            }
        }
        let mut merger = open_merger(&path);
        merger.merge_rows(&images, &samples).unwrap();
        merger.commit().unwrap();
        let (images, samples) = rows_of(2..18);
        let refused = merger.merge_rows(&images, &samples).unwrap_err();
        assert_eq!(refused.exit_code(), 3);
        let text = refused.to_string();
        assert!(
            text.contains("image 3: its rows in the file differ from those to be merged"),
            "{text}"
        );
        assert_eq!(images_in(&merger), 5);
    }
}

#[test]
fn merged_rows_that_come_again_change_nothing() {
    let (_folder, path) = new_store();
    let whole = build(&path);
    let (_folder, path) = new_store();
    let mut merger = open_merger(&path);
    for range in [0..5, 3..9, 0..18] {
        let (images, samples) = rows_of(range);
        merger.merge_rows(&images, &samples).unwrap();
    }
    assert_eq!(merger.finish().unwrap(), whole);
}

#[test]
fn uncommitted_rows_are_rolled_back_with_the_merger() {
    let (_folder, path) = new_store();
    let mut merger = open_merger(&path);
    for (range, commits) in [(0..5, true), (5..9, false)] {
        let (images, samples) = rows_of(range);
        merger.merge_rows(&images, &samples).unwrap();
        if commits {
            merger.commit().unwrap();
        }
    }
    drop(merger);
    assert_eq!(open_writer(&path).images_present().unwrap(), 5);
}

#[test]
fn a_merge_refuses_a_class_without_a_name() {
    let (_folder, path) = new_store();
    let (images, mut samples) = rows_of(0..2);
    samples[3].pred_float = 10;
    let mut merger = open_merger(&path);
    let refused = merger.merge_rows(&images, &samples).unwrap_err();
    assert_eq!(refused.exit_code(), 3);
    let text = refused.to_string();
    assert!(
        text.contains("image 0: found class 10, expected 0 to 9"),
        "{text}"
    );
    assert_eq!(images_in(&merger), 0);
}

//! NumPy array file: parsed, and read as images and as labels.
#![no_main]

use data::npy::Array;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some(array) = fuzz::checked(Array::parse("array", bytes)) else {
        return;
    };
    let elements: usize = array.shape().iter().product();
    assert_eq!(elements * array.element().size(), array.data().len());
    assert!(array.data().len() < bytes.len());
    if let Some(images) = fuzz::checked(array.images()) {
        assert!(!images.is_empty() && images.len().is_multiple_of(3072));
    }
    if let Some(labels) = fuzz::checked(array.labels(10)) {
        assert!(labels.len() == elements && labels.iter().all(|label| *label < 10));
    }
});

//! Folder of pickled batch files: the input is the training batch, the test batch and the class names.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for name in ["data_batch_1", "test_batch", "batches.meta"] {
        fuzz::file(&format!("pickle/{name}"), bytes);
    }
    fuzz::checked(data::load(&fuzz::path("pickle"), 0, None));
    // Without class names, which few inputs have.
    std::fs::remove_file(fuzz::path("pickle/batches.meta")).expect("a file");
    if let Some(data) = fuzz::checked(data::load(&fuzz::path("pickle"), 0, None)) {
        assert!(data.len() * 3072 <= 2 * bytes.len());
    }
});

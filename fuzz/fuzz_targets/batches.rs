//! Folder of binary batch files: two bytes are the length of the training batch, which the test batch follows.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((length, files)) = bytes.split_first_chunk() else {
        return;
    };
    let length = usize::from(u16::from_le_bytes(*length)).min(files.len());
    let (train, test) = files.split_at(length);
    let folder = fuzz::path("batches");
    fuzz::file("batches/data_batch_1.bin", train);
    fuzz::file("batches/test_batch.bin", test);
    if let Some(data) = fuzz::checked(data::load(&folder, 0, None)) {
        assert_eq!(data.len() * 3073, files.len());
    }
});

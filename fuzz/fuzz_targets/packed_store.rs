//! A packed store: unpacked, or refused with nothing left.
#![no_main]

use libfuzzer_sys::fuzz_target;
use store::PackedStore;

fuzz_target!(|bytes: &[u8]| {
    let packed = fuzz::file("packed/store", bytes);
    let out = fuzz::path("packed/store.db");
    let _ = std::fs::remove_file(&out);
    let unpacked =
        PackedStore::open(&packed).and_then(|packed| packed.unpack(&out, &mut |_| Ok(())));
    match fuzz::checked(unpacked) {
        Some(hash) => assert_eq!(store::verify(&out).expect("a store").content_hash, hash),
        None => {
            let left = std::fs::read_dir(fuzz::path("packed")).expect("the folder");
            assert_eq!(left.count(), 1, "something was left");
        }
    }
});

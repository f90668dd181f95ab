//! A store: opened, described, read and verified. What can be read must verify, but for SQLite's own
//! structure.
#![no_main]

use data::Split;
use libfuzzer_sys::fuzz_target;
use store::Store;

fuzz_target!(|bytes: &[u8]| {
    let path = fuzz::file("store.db", bytes);
    let _ = std::fs::remove_file(fuzz::path("store.db-journal"));
    if let Some(unfinished) = fuzz::checked(Store::open_any(&path)) {
        fuzz::checked(unfinished.counts());
        fuzz::checked(unfinished.summary());
    }
    fuzz::checked(store::info(&path));
    if let Some(store) = fuzz::checked(Store::open(&path)) {
        fuzz::checked(store.spec());
        for split in Split::ALL {
            fuzz::checked(store.load(split));
        }
    }
    fuzz::checked(store::verify(&path));
});

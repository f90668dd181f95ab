//! Packed stores: the round trip; damaged or lying files give one error and leave no store.

use super::*;
use crate::{PackedSize, PackedStore};

fn pack(path: &Path, out: &Path) -> PackedSize {
    let (mut images, store) = (0, Store::open(path).unwrap());
    let size = crate::pack(&store, out, &mut |count| {
        images += count;
        Ok(())
    });
    assert_eq!(images, ALL);
    size.unwrap()
}

fn unpack(packed: &Path, out: &Path) -> base::Result<String> {
    PackedStore::open(packed)?.unpack(out, &mut |_| Ok(()))
}

#[test]
fn a_packed_store_unpacks_to_equal_rows_and_hash() {
    let (folder, path) = new_store();
    let hash = build(&path);
    let [packed, back] = ["packed", "back.db"].map(|name| folder.path().join(name));
    let PackedSize {
        store: raw,
        packed: len,
    } = pack(&path, &packed);
    assert_eq!(raw, std::fs::metadata(&path).unwrap().len());
    assert_eq!(len, std::fs::metadata(&packed).unwrap().len());
    // Half of it is noise, which cannot shrink, and the variants differ by three bits of eight.
    assert!(len * 10 < raw * 6, "{len} of {raw} bytes");
    assert_eq!(unpack(&packed, &back).unwrap(), hash);
    assert!(everything(&back).unwrap() == everything(&path).unwrap());
    let [before, after] = [&path, &back].map(|path| Store::open(path).unwrap().spec());
    assert!(before.unwrap() == after.unwrap());
}

#[test]
fn a_packed_store_that_is_not_whole_leaves_nothing() {
    let (folder, path) = new_store();
    build(&path);
    let [packed, damaged, back] =
        ["packed", "damaged", "back.db"].map(|name| folder.path().join(name));
    pack(&path, &packed);
    let whole = std::fs::read(&packed).unwrap();
    let mut stream = Stream::new(17, "packed", &[]);
    let cut = (0..50).map(|_| whole[..stream.below(whole.len())].to_vec());
    let cut: Vec<Vec<u8>> = cut.collect();
    let flipped = (0..50).map(|_| {
        let mut bytes = whole.clone();
        bytes[stream.below(whole.len())] ^= 1 << stream.below(8);
        bytes
    });
    let flipped: Vec<Vec<u8>> = flipped.collect();
    let longer = [&whole[..], &[0]].concat();
    for (number, bytes) in cut.iter().chain(&flipped).chain([&longer]).enumerate() {
        std::fs::write(&damaged, bytes).unwrap();
        match unpack(&damaged, &back) {
            Err(error) => {
                assert_eq!(error.exit_code(), 3, "{number}: {error}");
                assert!(!error.to_string().contains('\n'), "{number}: {error}");
            }
            Ok(_) => panic!("{number}: unpacked"),
        }
        let left = std::fs::read_dir(folder.path()).unwrap();
        let names = left.map(|entry| entry.unwrap().file_name());
        let expected = ["store.db", "packed", "damaged"];
        let unexpected: Vec<_> = names
            .filter(|name| !expected.iter().any(|expected| name == expected))
            .filter(|name| !name.to_string_lossy().ends_with("lock"))
            .collect();
        assert!(unexpected.is_empty(), "{number}: {unexpected:?}");
    }
}

/// A packed store of the same form with another header and other bytes after it.
fn changed(whole: &[u8], change: impl Fn(&mut serde_json::Value, &mut [u8])) -> Vec<u8> {
    let (start, frame) = whole.split_at(b"mithpack".len() + 1);
    let bytes = zstd::decode_all(frame).unwrap();
    let (len, bytes) = bytes.split_first_chunk().unwrap();
    let (header, rest) = bytes.split_at(u64::from_le_bytes(*len) as usize);
    let mut header = serde_json::from_slice(header).unwrap();
    let mut rest = rest.to_vec();
    change(&mut header, &mut rest);
    let header = header.to_string();
    let len = (header.len() as u64).to_le_bytes();
    let bytes = [&len, header.as_bytes(), &rest].concat();
    [start, &zstd::encode_all(&bytes[..], 1).unwrap()].concat()
}

#[test]
fn a_packed_store_that_no_store_can_hold_is_bad_data_and_leaves_nothing() {
    let (folder, path) = new_store();
    build(&path);
    let [packed, back] = ["packed", "back.db"].map(|name| folder.path().join(name));
    pack(&path, &packed);
    let whole = std::fs::read(&packed).unwrap();
    let config = changed(&whole, |header, _| {
        header["identity"]["model"]["config"] = "no JSON".into();
    });
    // The first id stands behind the weights, which have their length before them.
    let id = changed(&whole, |_, rest| {
        let weights = u64::from_le_bytes(*rest.first_chunk().unwrap()) as usize;
        rest[8 + weights + 7] = 0x80;
    });
    for (bytes, message) in [(config, "json_valid(config)"), (id, "id of an image")] {
        std::fs::write(&packed, bytes).unwrap();
        let error = unpack(&packed, &back).unwrap_err();
        assert_eq!(error.exit_code(), 3, "{error}");
        assert!(error.to_string().contains(message), "{error}");
        assert!(
            error.to_string().starts_with(&packed.display().to_string()),
            "{error}"
        );
        let left = std::fs::read_dir(folder.path()).unwrap();
        let stores = left.filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            name.to_string_lossy().ends_with(".db")
        });
        assert_eq!(stores.count(), 1, "{message}: something was left");
    }
}

#[test]
fn an_error_of_the_progress_callback_ends_packing_and_unpacking_without_output() {
    let (folder, path) = new_store();
    build(&path);
    let [packed, back] = ["packed", "back.db"].map(|name| folder.path().join(name));
    let stop = &mut |_| Err(base::Error::Interrupted("stopped".into()));
    let stopped = crate::pack(&Store::open(&path).unwrap(), &packed, stop);
    assert_eq!(stopped.unwrap_err().exit_code(), 75);
    pack(&path, &packed);
    let stopped = PackedStore::open(&packed).unwrap().unpack(&back, stop);
    assert_eq!(stopped.unwrap_err().exit_code(), 75);
    let left = std::fs::read_dir(folder.path()).unwrap();
    assert_eq!(left.count(), 2, "a partial output was left");
}

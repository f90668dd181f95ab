//! Resume: a stopped or killed build gives the store of an uninterrupted one; full disks, concurrent readers.

use rusqlite::Connection;

use super::*;
use crate::{SCHEMA, file::StoreFile, info, meta::insert_spec, verify};
use base::output;

fn journal(path: &Path) -> PathBuf {
    StoreFile::as_given(path).journal()
}

#[test]
fn a_resumed_build_has_the_same_content_hash_whatever_batch_size_and_device() {
    let (_folder, path) = new_store();
    let whole = build(&path);

    let (_folder, path) = new_store();
    let mut writer = open_writer(&path);
    writer.insert_images(&images()[..7]).unwrap();
    writer.insert_samples(&samples_of(4)[..3]).unwrap();
    drop(writer);
    let mut writer = Writer::create_or_resume(&path, &spec(), "cuda:0").unwrap();
    assert_eq!(writer.images_present().unwrap(), 7);
    assert_eq!(writer.missing_images(5..10).unwrap(), [7, 8, 9]);
    assert_eq!(writer.missing_samples(4, 1..5).unwrap(), [3, 4]);
    assert_eq!(writer.missing_samples(1, 0..2).unwrap(), [0, 1]);
    assert_eq!(write_missing(&mut writer, 2), whole);
    assert_eq!(writer.store().meta().device, "cpu; cuda:0");
    drop(writer);

    let mut again = open_writer(&path);
    assert!(again.is_complete());
    assert_eq!(again.finish().unwrap(), whole);
    assert_eq!(
        again.insert_images(&images()[..1]).unwrap_err().exit_code(),
        2
    );
    assert_eq!(verify(&path).unwrap().content_hash, whole);
}

#[test]
fn the_content_hash_depends_on_every_column_and_parameter() {
    let (_folder, path) = new_store();
    let whole = build(&path);
    let mut hashes = vec![whole];
    for change in 0..12 {
        let (_folder, path) = new_store();
        let mut spec = spec();
        let (mut images, mut samples) =
            (images(), (1..=6).flat_map(samples_of).collect::<Vec<_>>());
        match change {
            0 => images[3].label = 9,
            1 => images[3].source_index = 0,
            2 => images[3].clean_pred = 8,
            3 => {
                let mut pixels = images[3].pixels.to_vec();
                pixels[0] ^= 1;
                images[3].pixels = pixels.into();
            }
            4 => samples[5].pred = (samples[5].pred + 1) % 10,
            5 => samples[5].pred_float = (samples[5].pred_float + 1) % 10,
            6 => samples[5].l2 = f64::from_bits(samples[5].l2.to_bits() + 1),
            7 => samples[5].linf = f64::from_bits(samples[5].linf.to_bits() + 1),
            8 => samples[5].steps += 1,
            9 => spec.seed += 1,
            10 => spec.attacks[2].params = "{}".into(),
            _ => spec.model = ModelRow::new("baseline", "{}", vec![1]),
        }
        let mut writer = Writer::create_or_resume(&path, &spec, "cpu").unwrap();
        writer.insert_images(&images).unwrap();
        writer.insert_samples(&samples).unwrap();
        hashes.push(writer.finish().unwrap());
    }
    let count = hashes.len();
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), count);
}

#[test]
fn a_store_is_not_finished_while_a_row_is_missing() {
    let (_folder, path) = new_store();
    let mut writer = open_writer(&path);
    writer.insert_images(&images()).unwrap();
    for attack in [1, 2, 3, 4, 6] {
        writer.insert_samples(&samples_of(attack)).unwrap();
    }
    writer.insert_samples(&samples_of(5)[..11]).unwrap();
    let error = writer.finish().unwrap_err().to_string();
    assert!(error.contains("image 11: no sample of cw"), "{error}");
    drop(writer);

    for error in [verify(&path).unwrap_err(), Store::open(&path).unwrap_err()] {
        assert_eq!(error.exit_code(), 3);
        assert!(error.to_string().contains("unfinished"), "{error}");
    }
    assert!(!info(&path).unwrap().meta.complete);
    let any = Store::open_any(&path).unwrap();
    assert!(any.load(Split::Train).is_err());
    let mut seen = 0;
    let count = |_, samples: Vec<SampleRow>| {
        seen += samples.len();
        Ok(())
    };
    any.for_each(Split::Train, count).unwrap();
    assert_eq!(seen, 12 * 6 - 1);
}

#[test]
fn a_store_can_be_read_while_it_is_built() {
    let (_folder, path) = new_store();
    let mut writer = open_writer(&path);
    writer.insert_images(&images()[..4]).unwrap();
    // In the middle of a transaction, too: its rows are not visible.
    let batch = "BEGIN; UPDATE image SET label = 9;";
    writer.store().conn.execute_batch(batch).unwrap();
    let reader = Store::open_any(&path).unwrap();
    assert_eq!(reader.counts().unwrap()[0].0, 4);
    let unchanged = |image: ImageRow, _| {
        assert_eq!(image.label, (image.id % 10) as u8);
        Ok(())
    };
    reader.for_each(Split::Train, unchanged).unwrap();
    writer.store().conn.execute_batch("ROLLBACK").unwrap();
    write_missing(&mut writer, 5);
}

#[test]
fn a_batch_that_was_killed_half_written_is_rolled_back() {
    let (_folder, whole) = new_store();
    let hash = build(&whole);
    let (folder, path) = new_store();
    let mut writer = open_writer(&path);
    writer.insert_images(&images()[..10]).unwrap();
    // A cache of a few pages makes SQLite write to the file before the commit.
    let half_written = "PRAGMA cache_size = 2; BEGIN; UPDATE image SET label = (label + 1) % 10;";
    writer.store().conn.execute_batch(half_written).unwrap();
    let before = std::fs::read(&path).unwrap();
    writer.store().conn.cache_flush().unwrap();
    assert_ne!(
        before,
        std::fs::read(&path).unwrap(),
        "the file is half-written"
    );
    let [killed, killed_too] = ["killed.db", "too.db"].map(|name| folder.path().join(name));
    for copy in [&killed, &killed_too] {
        std::fs::copy(&path, copy).unwrap();
        std::fs::copy(journal(&path), journal(copy)).unwrap();
    }
    drop(writer);

    assert_eq!(write_missing(&mut open_writer(&killed), 5), hash);
    // A reader rolls it back as well.
    let store = Store::open_any(&killed_too).unwrap();
    assert!(!journal(&killed_too).exists());
    let mut labels = Vec::new();
    let collect = |image: ImageRow, _| {
        labels.push(image.label);
        Ok(())
    };
    store.for_each(Split::Train, collect).unwrap();
    assert_eq!(labels, (0..10).collect::<Vec<_>>());
}

#[test]
fn a_build_killed_before_its_first_commit_starts_anew() {
    let (_folder, whole) = new_store();
    let hash = build(&whole);

    let (_folder, empty) = new_store();
    std::fs::write(&empty, "").unwrap();
    assert!(
        Store::open(&empty)
            .unwrap_err()
            .to_string()
            .contains("nothing in it yet")
    );
    assert_eq!(build(&empty), hash);

    let (folder, path) = new_store();
    let conn = Connection::open(&path).unwrap();
    conn.execute_batch("PRAGMA page_size = 16384; BEGIN")
        .unwrap();
    conn.execute_batch(SCHEMA).unwrap();
    insert_spec(&conn, &spec(), "cpu").unwrap();
    conn.cache_flush().unwrap();
    let killed = folder.path().join("killed.db");
    std::fs::copy(&path, &killed).unwrap();
    std::fs::copy(journal(&path), journal(&killed)).unwrap();
    assert!(std::fs::metadata(&killed).unwrap().len() > 0);
    let header = std::fs::read(&killed).unwrap()[..100].to_vec();
    assert_eq!(header, [0; 100]);
    let is_output = |path| output::check(path, &crate::OUTPUT, &[], false).is_ok();
    assert!(is_output(&killed));
    assert_eq!(build(&killed), hash);
    // Zeros without a journal are another program's.
    std::fs::write(&killed, [0; 100]).unwrap();
    assert!(!is_output(&killed));
}

#[test]
fn a_full_disk_loses_nothing_and_the_error_tells_how_to_resume() {
    let (_folder, whole) = new_store();
    let hash = build(&whole);
    let (_folder, path) = new_store();
    let mut writer = open_writer(&path);
    writer.insert_images(&images()).unwrap();
    let pages = "SELECT page_count + 2 FROM pragma_page_count";
    let limit: u32 = writer
        .store()
        .conn
        .query_row(pages, [], |r| r.get(0))
        .unwrap();
    let allow = |writer: &Writer, pages: u32| {
        let set = format!("PRAGMA max_page_count = {pages}");
        writer.store().conn.execute_batch(&set).unwrap();
    };
    allow(&writer, limit);
    let mut batches = samples_of(1)
        .chunks(4)
        .map(<[_]>::to_vec)
        .collect::<Vec<_>>()
        .into_iter();
    let error = batches
        .find_map(|batch| writer.insert_samples(&batch).err())
        .unwrap();
    assert_eq!(error.exit_code(), 1);
    let text = error.to_string();
    assert!(
        text.contains("disk is full") && text.contains("resume"),
        "{text}"
    );
    let missing = writer.missing_samples(1, 0..ALL).unwrap().len();
    assert!(0 < missing && missing < ALL as usize, "{missing}");
    allow(&writer, 1_000_000);
    assert_eq!(write_missing(&mut writer, 5), hash);
}

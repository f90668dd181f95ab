//! A build that was stopped goes on, and nobody can tell afterwards.

use rusqlite::Connection;

use super::*;
use crate::{SCHEMA, header::journal, info, verify};

#[test]
fn neither_stopping_nor_batch_size_nor_device_changes_the_content() {
    let (_folder, path) = place();
    let whole = build(&path);

    let (_folder, path) = place();
    let mut writer = open_writer(&path);
    writer.insert_images(&images()[..7]).unwrap();
    writer.insert_samples(&samples_of(4)[..3]).unwrap();
    drop(writer);
    let mut writer = Writer::create_or_resume(&path, &identity(), "cuda:0").unwrap();
    assert_eq!(writer.images_present().unwrap(), 7);
    assert_eq!(writer.missing_images(5..10).unwrap(), [7, 8, 9]);
    assert_eq!(writer.missing(4, 1..5).unwrap(), [3, 4]);
    assert_eq!(writer.missing(1, 0..2).unwrap(), [0, 1]);
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
fn the_content_hash_sees_every_column_and_the_parameters() {
    let (_folder, path) = place();
    let whole = build(&path);
    let mut hashes = vec![whole];
    for change in 0..12 {
        let (_folder, path) = place();
        let mut identity = identity();
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
            9 => identity.seed += 1,
            10 => identity.attacks[2].params = "{}".into(),
            _ => identity.model = ModelRow::new("baseline", "{}", vec![1]),
        }
        let mut writer = Writer::create_or_resume(&path, &identity, "cpu").unwrap();
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
    let (_folder, path) = place();
    let mut writer = open_writer(&path);
    writer.insert_images(&images()).unwrap();
    for attack in [1, 2, 3, 4, 6] {
        writer.insert_samples(&samples_of(attack)).unwrap();
    }
    writer.insert_samples(&samples_of(5)[..11]).unwrap();
    let error = writer.finish().unwrap_err().to_string();
    assert!(error.contains("image 11: found no sample of cw"), "{error}");
    drop(writer);

    for error in [verify(&path).unwrap_err(), Store::open(&path).unwrap_err()] {
        assert_eq!(error.exit_code(), 3);
        assert!(error.to_string().contains("unfinished"), "{error}");
    }
    assert!(info(&path).unwrap().to_string().contains("unfinished"));
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
    let (_folder, path) = place();
    let mut writer = open_writer(&path);
    writer.insert_images(&images()[..4]).unwrap();
    // In the middle of a batch, too: its rows are not seen.
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
fn a_batch_that_was_killed_half_written_is_taken_back() {
    let (_folder, whole) = place();
    let hash = build(&whole);
    let (folder, path) = place();
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
    // A reader takes it back as well.
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
    let (_folder, whole) = place();
    let hash = build(&whole);

    let (_folder, empty) = place();
    std::fs::write(&empty, "").unwrap();
    assert!(
        Store::open(&empty)
            .unwrap_err()
            .to_string()
            .contains("nothing in it yet")
    );
    assert_eq!(build(&empty), hash);

    let (folder, path) = place();
    let conn = Connection::open(&path).unwrap();
    conn.execute_batch("PRAGMA page_size = 16384; BEGIN")
        .unwrap();
    conn.execute_batch(SCHEMA).unwrap();
    identity().write(&conn, "cpu").unwrap();
    conn.cache_flush().unwrap();
    let killed = folder.path().join("killed.db");
    std::fs::copy(&path, &killed).unwrap();
    std::fs::copy(journal(&path), journal(&killed)).unwrap();
    assert!(std::fs::metadata(&killed).unwrap().len() > 0);
    assert_eq!(build(&killed), hash);
}

#[test]
fn a_full_disk_says_how_to_go_on_and_loses_nothing() {
    let (_folder, whole) = place();
    let hash = build(&whole);
    let (_folder, path) = place();
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
    let said = error.to_string();
    assert!(
        said.contains("disk is full") && said.contains("resume"),
        "{said}"
    );
    let lacking = writer.missing(1, 0..ALL).unwrap().len();
    assert!(0 < lacking && lacking < ALL as usize, "{lacking}");
    allow(&writer, 1_000_000);
    assert_eq!(write_missing(&mut writer, 5), hash);
}

#[test]
fn rows_that_come_again_must_be_those_that_are_there() {
    let (_folder, path) = place();
    let whole = build(&path);
    let of = |range: std::ops::Range<usize>| {
        let images = images()[range.clone()].to_vec();
        let samples =
            range.flat_map(|row| (1..=6).map(move |attack| samples_of(attack)[row].clone()));
        (images, samples.collect::<Vec<_>>())
    };
    for change in 0..3 {
        let (_folder, path) = place();
        let (mut images, mut samples) = of(0..5);
        match change {
            0 => images[3].label = 9,
            1 => samples[20].steps += 1,
            _ => {
                samples.remove(20);
            }
        }
        let mut writer = open_writer(&path);
        writer.insert_missing(&images, &samples).unwrap();
        writer.commit().unwrap();
        let (images, samples) = of(2..18);
        let refused = writer.insert_missing(&images, &samples).unwrap_err();
        assert_eq!(refused.exit_code(), 3);
        let said = refused.to_string();
        assert!(
            said.contains("image 3: found rows that are not those to be added"),
            "{said}"
        );
        assert_eq!(writer.images_present().unwrap(), 5);
    }

    let (_folder, path) = place();
    let mut writer = open_writer(&path);
    for range in [0..5, 3..9, 0..18] {
        let (images, samples) = of(range);
        writer.insert_missing(&images, &samples).unwrap();
    }
    assert_eq!(writer.finish().unwrap(), whole);

    // What is not committed goes when the writer does.
    let (_folder, path) = place();
    let mut writer = open_writer(&path);
    for (range, commits) in [(0..5, true), (5..9, false)] {
        let (images, samples) = of(range);
        writer.insert_missing(&images, &samples).unwrap();
        if commits {
            writer.commit().unwrap();
        }
    }
    drop(writer);
    assert_eq!(open_writer(&path).images_present().unwrap(), 5);
}

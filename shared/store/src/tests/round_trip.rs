//! Round trip: rows written are the rows read, in memory and in the summary; the schema is frozen.

use super::*;
use crate::{InMemorySplit, info, verify};

#[test]
fn rows_are_read_back_as_they_were_written() {
    let (_folder, path) = new_store();
    let hash = build(&path);

    let store = Store::open(&path).unwrap();
    let meta = store.meta();
    assert_eq!(meta.content_hash.as_deref(), Some(hash.as_str()));
    assert_eq!(
        (meta.spec.seed, meta.spec.limit, meta.spec.images),
        (7, None, IMAGES)
    );
    assert_eq!(meta.device, "cpu");
    assert_eq!(store.spec().unwrap(), spec());
    assert_eq!(everything(&path).unwrap(), expected());

    let verified = verify(&path).unwrap();
    assert_eq!(verified.content_hash, hash);
    assert_eq!((verified.images, verified.samples), (IMAGES, ALL * 6));
    let left: Vec<_> = std::fs::read_dir(path.parent().unwrap()).unwrap().collect();
    assert_eq!(left.len(), 1, "one file and no other: {left:?}");
}

#[test]
fn a_split_is_loaded_with_every_variant_in_its_place() {
    let (_folder, path) = new_store();
    build(&path);
    let table = Store::open(&path).unwrap().load(Split::Val).unwrap();
    let rows: Vec<_> = expected()
        .into_iter()
        .filter(|r| r.0.split == Split::Val)
        .collect();

    assert_eq!(table.len(), rows.len());
    assert_eq!(table.attacks, ATTACKS);
    for (row, (image, samples)) in rows.iter().enumerate() {
        assert_eq!(table.ids[row], image.id);
        assert_eq!(table.labels[row], image.label);
        assert_eq!(table.clean_preds[row], image.clean_pred);
        assert_eq!(table.variant(row, 0), &*image.pixels);
        for (attack, sample) in samples.iter().enumerate() {
            assert_eq!(table.variant(row, 1 + attack), &*sample.pixels);
            assert_eq!(table.preds[row * 6 + attack], sample.pred);
            let distances = (table.l2[row * 6 + attack], table.linf[row * 6 + attack]);
            assert_eq!(distances, (sample.l2 as f32, sample.linf as f32));
        }
    }
}

#[test]
fn a_split_without_images_loads_as_an_empty_one() {
    let (_folder, path) = new_store();
    let mut spec = spec();
    spec.images = [12, 3, 0];
    let mut writer = Writer::create_or_resume(&path, &spec, "cpu").unwrap();
    writer.insert_images(&images()[..15]).unwrap();
    for attack in 1..=6 {
        writer.insert_samples(&samples_of(attack)[..15]).unwrap();
    }
    writer.finish().unwrap();
    let table = Store::open(&path).unwrap().load(Split::Test).unwrap();
    assert!(table.is_empty());
    assert_eq!(
        table,
        InMemorySplit {
            attacks: table.attacks.clone(),
            ..InMemorySplit::default()
        }
    );
}

#[test]
fn the_summary_equals_that_of_the_rows_and_the_view() {
    let (_folder, path) = new_store();
    build(&path);
    let summary = Store::open(&path).unwrap().summary().unwrap();
    assert_eq!(summary.len(), 18);
    for (row, found) in summary.iter().enumerate() {
        let (split, attack) = (Split::ALL[row / 6], row % 6);
        let rows: Vec<_> = expected()
            .into_iter()
            .filter(|r| r.0.split == split)
            .collect();
        let mean = |value: &dyn Fn(&ImageRow, &SampleRow) -> f64| {
            rows.iter().map(|(i, s)| value(i, &s[attack])).sum::<f64>() / rows.len() as f64
        };
        assert_eq!(found.split, split.name());
        assert_eq!(found.attack, ATTACKS[attack]);
        assert_eq!(found.count, rows.len() as u64);
        let accuracy = mean(&|i, s| f64::from(u8::from(i.label == s.pred)));
        assert!((found.surrogate_accuracy - accuracy).abs() < 1e-12);
        let was_right = |i: &ImageRow| f64::from(u8::from(i.label == i.clean_pred));
        let turned = mean(&|i, s| was_right(i) * f64::from(u8::from(i.label != s.pred)));
        let success = turned / mean(&|i, _| was_right(i));
        match found.success {
            Some(found) => assert!((found - success).abs() < 1e-12),
            None => assert!(success.is_nan()),
        }
        assert!((found.mean_l2 - mean(&|_, s| s.l2)).abs() < 1e-12);
        assert!((found.mean_linf - mean(&|_, s| s.linf)).abs() < 1e-12);
        assert_eq!((found.unchanged, found.unchanged_misclassified), (0, 0));
    }

    let db = rusqlite::Connection::open(&path).unwrap();
    let mut view = db.prepare("SELECT * FROM attack_summary").unwrap();
    let read = |row: &rusqlite::Row| {
        let names = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok((names, [row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?]))
    };
    let view = view.query_map([], read).unwrap().map(Result::unwrap);
    let rows = summary.into_iter().map(|row| {
        let unchanged = row.unchanged as f64 / row.count as f64;
        let numbers = [
            row.surrogate_accuracy,
            row.mean_l2,
            row.mean_linf,
            unchanged,
        ];
        ((row.split, row.attack, row.count), numbers)
    });
    assert!(view.eq::<Vec<((String, String, u64), [f64; 4])>>(rows.collect()));
}

#[test]
fn info_as_json_has_meta_attacks_splits_and_summary() {
    let (_folder, path) = new_store();
    let hash = build(&path);
    let info = info(&path).unwrap();
    let json = serde_json::to_value(&info).unwrap();
    let keys: Vec<&String> = json["meta"].as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "dataset",
            "classes",
            "source_hash",
            "seed",
            "preset",
            "limit",
            "shard",
            "images",
            "generator_version",
            "created",
            "device",
            "complete",
            "content_hash",
            "licence",
            "warnings"
        ]
    );
    assert_eq!(json["meta"]["content_hash"], hash);
    assert_eq!(json["meta"]["dataset"], "cifar10");
    assert_eq!(json["meta"]["preset"], "paper");
    assert_eq!(json["model"]["config"]["width"], 64);
    assert_eq!(json["attacks"][3]["name"], "deepfool");
    assert_eq!(json["meta"]["complete"], true);
    assert_eq!(json["attacks"][1]["params"]["strength"], 0.2);
    assert_eq!(json["splits"][2]["images"], 3);
    assert_eq!(json["summary"].as_array().unwrap().len(), 18);
}

#[test]
fn distances_are_in_units_of_the_unit_interval() {
    assert_eq!(distances(&[0; 4], &[255; 4]), (2.0, 1.0));
    assert_eq!(distances(&[10, 20], &[13, 16]), (5.0 / 255.0, 4.0 / 255.0));
}

/// A change of the schema, of a comment in it too, makes other files: raise its version, and only
/// then write the new hash here.
#[test]
fn the_schema_of_version_2_is_frozen() {
    let (_folder, path) = new_store();
    build(&path);
    let conn = rusqlite::Connection::open(&path).unwrap();
    let sql = "SELECT group_concat(sql, ';' ORDER BY name) FROM sqlite_schema";
    let text: String = conn.query_row(sql, [], |row| row.get(0)).unwrap();
    let hash = blake3::hash(text.as_bytes()).to_hex();
    assert_eq!(
        (crate::SCHEMA_VERSION, hash.as_str()),
        (
            2,
            "46a4895e411f530d79c2c98ad1e144d5e825d3191fc87d9a53e40967c0ecb914"
        )
    );
    let pragma = |name| -> u32 { conn.pragma_query_value(None, name, |r| r.get(0)).unwrap() };
    assert_eq!(pragma("page_size"), 16_384);
    assert_eq!(pragma("application_id"), 0x4D69_7468);
}

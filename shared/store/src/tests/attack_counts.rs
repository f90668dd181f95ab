//! Stores of other numbers of attacks than the paper's six: built, merged, packed, restored and verified.

use super::*;
use crate::{Merger, PackedStore, pack, verify};

/// The first attacks of the paper, then others.
fn spec_of(attacks: i64) -> BuildSpec {
    let mut spec = spec();
    spec.attacks = (1..=attacks)
        .map(|id| AttackRow {
            id,
            name: format!("attack{id}"),
            params: "{}".into(),
            model_id: 1,
        })
        .collect();
    spec
}

#[test]
fn stores_of_any_number_of_attacks_are_built_merged_packed_and_verified() {
    for count in [1, 7, 12] {
        let (folder, built) = new_store();
        let spec = spec_of(count);
        let mut writer = Writer::create_or_resume(&built, &spec, "cpu").unwrap();
        writer.insert_images(&images()).unwrap();
        for attack in 1..=count {
            writer.insert_samples(&samples_of(attack)).unwrap();
        }
        let hash = writer.finish().unwrap();
        drop(writer);
        let verified = verify(&built).unwrap();
        assert_eq!(verified.samples, ALL * count as u64);
        assert_eq!(verified.content_hash, hash);

        let [merged, packed, restored] =
            ["merged.db", "packed", "restored.db"].map(|name| folder.path().join(name));
        let mut merger = Merger::create_or_resume(&merged, &spec, "cpu").unwrap();
        for rows in everything(&built).unwrap().chunks(5) {
            let (images, samples): (Vec<_>, Vec<_>) = rows.iter().cloned().unzip();
            merger.merge_rows(&images, &samples.concat()).unwrap();
        }
        assert_eq!(merger.finish().unwrap(), hash, "{count} attacks");
        assert_eq!(verify(&merged).unwrap().content_hash, hash);

        let store = Store::open(&merged).unwrap();
        pack(&store, &packed, &mut |_| Ok(())).unwrap();
        let unpacked = PackedStore::open(&packed).unwrap();
        assert_eq!(unpacked.image_count(), ALL);
        assert_eq!(unpacked.unpack(&restored, &mut |_| Ok(())).unwrap(), hash);
        assert_eq!(verify(&restored).unwrap().content_hash, hash);
        let split = store.load(Split::Train).unwrap();
        assert_eq!(split.attacks.len() as i64, count);
        assert_eq!(
            split.variant(3, count as usize),
            &*samples_of(count)[3].pixels
        );
    }
}

//! Start of a warm build: another store's samples, at which iterative attacks begin in place of the clean image.

use std::{collections::BTreeMap, path::Path};

use attacks::AttackKind;
use base::{Error, Result, log};
use data::{Dataset, Split};
use store::Store;

/// The samples at which attacks begin.
pub struct Start {
    /// Content hash of their store.
    pub hash: String,
    /// Pixels by attack and image id.
    samples: BTreeMap<AttackKind, BTreeMap<u64, Vec<u8>>>,
}

impl Start {
    /// Reads the samples for those of `kinds` that take a start: of the same attack, or of the store's only one.
    ///
    /// # Errors
    /// [`Error::Usage`] where none of `kinds` takes a start, [`Error::Data`] for a store of other images or without
    /// such samples.
    pub fn read(
        path: &Path,
        kinds: &[AttackKind],
        data: &Dataset,
        seed: u64,
        limit: Option<usize>,
    ) -> Result<Self> {
        let store = Store::open(path)?;
        let images = (&data.source_hash[..], seed, limit.map(|limit| limit as u64));
        let spec = &store.meta().spec;
        spec.check_images(&path.display(), images, "this build")?;
        let takes: Vec<AttackKind> = kinds
            .iter()
            .copied()
            .filter(|kind| kind.traits().takes_start)
            .collect();
        if takes.is_empty() {
            let able = AttackKind::ALL
                .into_iter()
                .filter(|kind| kind.traits().takes_start);
            let able: Vec<&str> = able.map(AttackKind::name).collect();
            return Err(Error::Usage(format!(
                "--start: none of the attacks goes on from a given start; {} do",
                able.join(" and ")
            )));
        }
        let names: Vec<&str> = store
            .attacks()
            .iter()
            .map(|attack| attack.name.as_str())
            .collect();
        let position = |kind: &AttackKind| {
            let same = names.iter().position(|name| *name == kind.name());
            let only = (names.len() == 1).then_some(0);
            let position = same.or(only).ok_or_else(|| {
                let what = format!("{}: attacks", path.display());
                Error::data(
                    what,
                    names.join(", "),
                    format!("{kind}, or one attack alone"),
                )
            })?;
            Ok((*kind, position))
        };
        let positions: Vec<(AttackKind, usize)> =
            takes.iter().map(position).collect::<Result<_>>()?;
        let mut samples: BTreeMap<AttackKind, BTreeMap<u64, Vec<u8>>> = BTreeMap::new();
        for split in Split::ALL {
            if store.meta().images_of(split) == 0 && !data.split(split).is_empty() {
                log::info(format_args!(
                    "{}: no samples of {split}; attacks begin there as without --start",
                    path.display()
                ));
                continue;
            }
            let table = store.load(split)?;
            let (found, expected) = (table.ids.len(), data.split(split).len());
            if found != expected {
                let what = format!("{}: images of {split}", path.display());
                let all = format!("{expected}, all of them: merge its shards first");
                return Err(Error::data(what, found, all));
            }
            for (kind, position) in &positions {
                let rows = table.ids.iter().enumerate();
                let rows = rows.map(|(row, id)| (*id, table.variant(row, 1 + position).to_vec()));
                samples.entry(*kind).or_default().extend(rows);
            }
        }
        let hash = store.meta().content_hash.clone().unwrap_or_default();
        Ok(Self { hash, samples })
    }

    /// The samples of these images, one after another; none where the attack takes no start, or the store lacks one.
    pub fn of(&self, kind: AttackKind, ids: &[u64]) -> Option<Vec<u8>> {
        let samples = self.samples.get(&kind)?;
        let pixels = ids.iter().map(|id| Some(samples.get(id)?.as_slice()));
        Some(pixels.collect::<Option<Vec<&[u8]>>>()?.concat())
    }
}

//! Shards of a build: `I/N`, the range of each split that it covers, and the specification of the whole.

use std::{fmt, ops::Range, path::Path, str::FromStr};

use super::spec::{BuildSpec, Difference};
use base::{Error, Result};

/// The `index`-th, from 1, of `count` shards of a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shard {
    index: u64,
    count: u64,
}

impl Shard {
    /// The only shard: the whole.
    pub const WHOLE: Self = Self { index: 1, count: 1 };

    /// More shards than anybody will have.
    const MAX_SHARDS: u64 = 100_000;

    /// All shards of the same whole, this one among them.
    pub fn all(self) -> impl Iterator<Item = Self> {
        let count = self.count;
        (1..=count).map(move |index| Self { index, count })
    }

    /// Its range of the `len` images of a split; shards differ by one image at most.
    pub fn range(self, len: u64) -> Range<u64> {
        let Self { index, count } = self;
        // Without overflow: both factors are far below 2^32.
        len * (index - 1) / count..len * index / count
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let parts = text.split_once('/').and_then(|(index, count)| {
            let (index, count) = (index.parse().ok()?, count.parse().ok()?);
            Some(Self { index, count })
        });
        parts
            .filter(|Self { index, count }| {
                (1..=*count).contains(index) && *count <= Self::MAX_SHARDS
            })
            .ok_or_else(|| {
                format!(
                    "'{text}' is not I/N with 1 <= I <= N <= {}",
                    Self::MAX_SHARDS
                )
            })
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

/// The specification of the store whose shards these are, each with the path of its file.
///
/// # Errors
/// [`Error::Usage`] naming the files when two of them differ in anything but their shard, when a shard is
/// there twice, or when one is missing.
pub fn merge_specs(parts: &[(&Path, BuildSpec)]) -> Result<BuildSpec> {
    let Some(((first_path, first), others)) = parts.split_first() else {
        return Err(Error::Usage("there is nothing to merge".into()));
    };
    let mut whole = BuildSpec {
        shard: Shard::WHOLE.to_string(),
        ..first.clone()
    };
    // A shard's specification, but for what makes it this shard.
    let of_whole = |spec: &BuildSpec| BuildSpec {
        shard: whole.shard.clone(),
        images: whole.images,
        ..spec.clone()
    };
    for (path, spec) in others {
        if let Some(Difference { what, values }) = whole.difference(&of_whole(spec)) {
            let [one, other] = values;
            return Err(Error::Usage(format!(
                "{} and {} are no parts of one build: {what}: {one} and {other}",
                first_path.display(),
                path.display(),
            )));
        }
    }
    let shard = |path: &Path, spec: &BuildSpec| -> Result<Shard> {
        let parsed = spec.shard.parse();
        parsed.map_err(|reason| Error::invalid(format!("{}: shard", path.display()), reason))
    };
    let first_shard = shard(first_path, first)?;
    let count = first_shard.count;
    let mut seen: Vec<Option<&Path>> = vec![None; count as usize];
    for (path, spec) in parts {
        let shard = shard(path, spec)?;
        if shard.count != count {
            return Err(Error::Usage(format!(
                "{} is shard {first_shard}, {} is shard {shard}: no parts of one build",
                first_path.display(),
                path.display(),
            )));
        }
        let slot = &mut seen[shard.index as usize - 1];
        if let Some(other) = slot.replace(path) {
            return Err(Error::Usage(format!(
                "{} and {} are both shard {shard}",
                other.display(),
                path.display()
            )));
        }
    }
    let missing: Vec<String> = (1..)
        .zip(&seen)
        .filter(|(_, path)| path.is_none())
        .map(|(index, _)| format!("{index}/{count}"))
        .collect();
    if !missing.is_empty() {
        let names = missing.join(", ");
        return Err(Error::Usage(format!("shards are missing: {names}")));
    }
    for (images, split) in whole.images.iter_mut().zip(0..) {
        *images = parts.iter().map(|(_, part)| part.images[split]).sum();
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_everything_once_and_are_of_one_size() {
        for (len, count) in [(0, 3), (2, 3), (10, 3), (45_000, 7), (5, 5)] {
            let mut next = 0;
            for index in 1..=count {
                let range = Shard { index, count }.range(len);
                assert_eq!(range.start, next);
                assert!((len / count..=len / count + 1).contains(&(range.end - range.start)));
                next = range.end;
            }
            assert_eq!(next, len);
        }
    }

    #[test]
    fn shards_are_read_back_as_they_are_printed() {
        let shard = Shard { index: 3, count: 4 };
        assert_eq!(shard.to_string().parse(), Ok(shard));
        for wrong in ["", "1", "0/4", "5/4", "1/0", "-1/2", "1/999999999"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}

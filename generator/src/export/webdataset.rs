//! WebDataset: tar shards in which the files of one image are adjacent and share the name before the
//! first dot.

use std::{
    fs::File,
    io::BufWriter,
    path::{Path, PathBuf},
};

use base::{
    Error, Result, files,
    output::{self, Existing, Form},
};
use data::Split;
use tar::{Builder, Header};

use super::{Format, Source, encoded, holds_only, is_number};

/// The row of [`super::FORMATS`].
pub const FORMAT: Format = Format {
    name: "webdataset",
    help: "Tar files of PNG files, for streaming",
    output: OUTPUT,
    write,
};

/// Tar files as an output.
const OUTPUT: output::Kind = output::Kind {
    name: "a folder of exported WebDataset shards alone",
    form: Form::Folder,
    existing: Existing::Kept,
    matches: |path| {
        holds_only(path, &|parts| match parts {
            [file] => file.split_once('-').is_some_and(|(split, number)| {
                split.parse::<Split>().is_ok() && is_number(number, ".tar")
            }),
            _ => false,
        })
    },
};

/// Images per shard.
const SHARD_IMAGES: u64 = 1000;

/// Writes `out/SPLIT-NNNNNN.tar`.
fn write(source: &Source, out: &Path) -> Result<()> {
    files::create_folder(out)?;
    let mut bar = source.progress();
    for split in Split::ALL {
        let mut shard: Option<Shard> = None;
        let mut count = 0;
        source.for_each(split, &mut bar, |image, pixels| {
            if count % SHARD_IMAGES == 0 {
                shard.take().map_or(Ok(()), Shard::finish)?;
            }
            let name = || out.join(format!("{}-{:06}.tar", split.name(), count / SHARD_IMAGES));
            let shard = match &mut shard {
                Some(shard) => shard,
                shard => shard.insert(Shard::create(name())?),
            };
            for (variant, pixels) in source.variants.iter().zip(pixels) {
                let bytes = encoded(pixels)?;
                shard.add(&format!("{:06}.{variant}.png", image.id), &bytes)?;
            }
            count += 1;
            shard.add(
                &format!("{:06}.cls", image.id),
                image.label.to_string().as_bytes(),
            )
        })?;
        shard.map_or(Ok(()), Shard::finish)?;
    }
    bar.finish();
    Ok(())
}

/// A tar file that is being written.
struct Shard {
    path: PathBuf,
    tar: Builder<BufWriter<File>>,
}

impl Shard {
    fn create(path: PathBuf) -> Result<Self> {
        let file = File::create(&path).map_err(Error::io("create", &path))?;
        Ok(Self {
            tar: Builder::new(BufWriter::new(file)),
            path,
        })
    }

    fn add(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let mut header = Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        let added = self.tar.append_data(&mut header, name, bytes);
        added.map_err(Error::io("write", &self.path))
    }

    fn finish(self) -> Result<()> {
        let failed = |reason| Error::io("write", &self.path)(reason);
        let file = self.tar.into_inner().map_err(failed)?;
        let file = file
            .into_inner()
            .map_err(|error| failed(error.into_error()))?;
        file.sync_all().map_err(failed)
    }
}

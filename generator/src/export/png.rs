//! Folders of PNG files, by split, variant and class.

use std::path::Path;

use base::{
    Error, Result, files,
    output::{self, Existing, Form},
};
use data::Split;

use super::{Format, Source, encoded, holds_only, is_number};

/// The row of [`super::FORMATS`].
pub const FORMAT: Format = Format {
    name: "png",
    help: "Folders of PNG files",
    output: OUTPUT,
    write,
};

/// Folders of PNG files as an output.
const OUTPUT: output::Kind = output::Kind {
    name: "a folder of exported PNG images alone",
    form: Form::Folder,
    existing: Existing::Kept,
    matches: |path| {
        holds_only(path, &|parts| match parts {
            [split, _, _, file] => split.parse::<Split>().is_ok() && is_number(file, ".png"),
            _ => false,
        })
    },
};

/// Writes `out/SPLIT/VARIANT/CLASS/ID.png`.
fn write(source: &Source, out: &Path) -> Result<()> {
    let mut bar = source.progress();
    let classes = &source.store.meta().spec.classes;
    for split in Split::ALL {
        let folder = |variant: &str, class: &str| out.join(split.name()).join(variant).join(class);
        for variant in &source.variants {
            // All of them, so that every folder numbers the classes alike.
            for class in classes {
                files::create_folder(&folder(variant, class))?;
            }
        }
        source.for_each(split, &mut bar, |image, pixels| {
            for (variant, pixels) in source.variants.iter().zip(pixels) {
                let class = &classes[usize::from(image.label)];
                let path = folder(variant, class).join(format!("{:06}.png", image.id));
                let bytes = encoded(pixels)?;
                std::fs::write(&path, bytes).map_err(Error::io("write", &path))?;
            }
            Ok(())
        })?;
    }
    bar.finish();
    Ok(())
}

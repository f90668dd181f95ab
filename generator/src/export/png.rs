//! Folders of PNG files, by split, variant and class.

use std::path::Path;

use shared::{
    Error, Result,
    cifar10::{CLASS_NAMES, Split},
    files,
};

use super::{Pictures, encoded};

/// Writes `out/SPLIT/VARIANT/CLASS/ID.png`.
pub fn write(pictures: &Pictures, out: &Path) -> Result<()> {
    let mut bar = pictures.progress();
    for split in Split::ALL {
        let folder = |variant: &str, class: &str| out.join(split.name()).join(variant).join(class);
        for variant in &pictures.variants {
            // All of them, so that every folder numbers the classes alike.
            for class in CLASS_NAMES {
                files::create_folder(&folder(variant, class))?;
            }
        }
        pictures.each(split, &mut bar, |image, pixels| {
            for (variant, pixels) in pictures.variants.iter().zip(pixels) {
                let class = CLASS_NAMES[usize::from(image.label)];
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

//! Weights files of other tools: recognizes other formats and other names of tensors, for errors that say what to
//! do.

use super::spec::TensorSpec;
use base::{Error, Result};

/// The expected format, and how to write it in Python.
pub const EXPECTED: &str = "a safetensors file (in Python: \
    safetensors.torch.save_file(model.state_dict(), 'model.safetensors'))";

/// Magic bytes of other formats.
const FORMATS: [(&[u8], &str); 5] = [
    (
        b"PK\x03\x04",
        "a zip archive, as torch.save writes (.pth, .pt)",
    ),
    (b"\x89HDF", "an HDF5 file, as Keras writes (.h5)"),
    (b"GGUF", "a GGUF file"),
    (b"\x93NUMPY", "a NumPy array (.npy)"),
    (b"SQLite format 3\0", "a SQLite database, such as a store"),
];

/// The format of these bytes, if it is known.
pub fn recognize(bytes: &[u8]) -> Option<&'static str> {
    // Protocol 2 or later. The eighth byte of a safetensors file's length is 0.
    if let [0x80, 2..=5, _, _, _, _, _, 1..=255, ..] = bytes {
        return Some("a Python pickle, as old versions of torch.save write (.pth, .pt)");
    }
    let found = FORMATS.iter().find(|(start, _)| bytes.starts_with(start));
    found.map(|(_, kind)| *kind)
}

/// Refuses names that all have a wrapper's prefix, such as `module.` of PyTorch's DataParallel.
///
/// # Errors
/// [`Error::Data`] that names the prefix.
pub fn check_names<'a>(
    what: &str,
    names: impl Iterator<Item = &'a str> + Clone,
    specs: &[TensorSpec],
) -> Result<()> {
    let Some(first) = specs
        .first()
        .filter(|first| names.clone().all(|name| name != first.name))
    else {
        return Ok(());
    };
    let mut prefixes = names
        .clone()
        .filter_map(|name| name.strip_suffix(&first.name));
    let of_all = |prefix: &&str| names.clone().all(|name| name.starts_with(prefix));
    if let Some(prefix) = prefixes.find(of_all) {
        let found = format!(
            "names that begin with '{prefix}', such as {prefix}{}",
            first.name
        );
        let expected = format!(
            "names without it (in Python: {{k.removeprefix('{prefix}'): v for k, v in state.items()}})"
        );
        return Err(Error::data(format!("{what}: tensors"), found, expected));
    }
    Ok(())
}

/// The hint for a tensor that is missing because torchvision names it in another way.
pub fn hint(names: impl Iterator<Item = impl AsRef<str>>) -> &'static str {
    let is_torchvisions = |name: &str| name == "fc.weight" || name.contains(".downsample.");
    let mut names = names;
    if names.any(|name| is_torchvisions(name.as_ref())) {
        " (these are torchvision's names: fc is linear here, downsample is shortcut)"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_torch_save_and_prefixed_names_are_recognized() {
        assert!(recognize(b"PK\x03\x04abc").unwrap().contains("torch.save"));
        assert!(
            recognize(b"\x80\x02\x8a\nl\xfc\x9cF\xf9")
                .unwrap()
                .contains("pickle")
        );
        assert_eq!(recognize(b"\x80\x02\0\0\0\0\0\0{"), None);
        assert_eq!(recognize(b"\x10\0\0\0\0\0\0\0{}"), None);
        let specs = [TensorSpec::weight("conv1.weight", [1], 1)];
        for prefix in ["module.", "_orig_mod.", "model.", "net.backbone."] {
            let names = [format!("{prefix}bn1.bias"), format!("{prefix}conv1.weight")];
            let names = names.iter().map(String::as_str);
            let said = check_names("a", names, &specs).unwrap_err().to_string();
            assert!(said.contains(&format!("begin with '{prefix}'")), "{said}");
        }
        for names in [
            &["conv1.weight"][..],
            &["bn1.bias", "layer1.0.conv1.weight"],
            &[],
        ] {
            check_names("a", names.iter().copied(), &specs).unwrap();
        }
    }
}

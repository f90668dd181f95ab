//! Data of other tools: recognized so that the refusal says what it is.

use std::{fs, path::Path};

use base::{Result, output};

/// Magic bytes of files, and what the files are.
const MAGIC: [(&[u8], &str); 11] = [
    (b"PAR1", "a Parquet file, as Hugging Face keeps data sets"),
    (b"ARROW1", "an Arrow file"),
    (
        b"\x93NUMPY",
        "a NumPy array (.npy), which trainer eval --images reads",
    ),
    (b"PK\x03\x04", "a zip archive (.zip, .npz)"),
    (b"\x89HDF", "an HDF5 file"),
    (
        b"SQLite format 3\0",
        "a SQLite database, such as a store (trainer train --db reads one)",
    ),
    (b"\xfd7zXZ", "an archive packed with xz: unpack it first"),
    (b"BZh", "an archive packed with bzip2: unpack it first"),
    (
        b"\x28\xb5\x2f\xfd",
        "an archive packed with zstd: unpack it first",
    ),
    (
        b"\x80",
        "a Python pickle, such as data_batch_1 of CIFAR-10's Python version: name the folder it lies in",
    ),
    (
        b"MATLAB",
        "a MATLAB file, such as CIFAR-10's MATLAB version",
    ),
];

/// What is at a path, if it is known and not read. Files are tried before the sources, so none that one reads is listed; folders
/// that no source reads.
///
/// # Errors
/// [`base::Error::Io`] when it cannot be read.
pub fn recognize(path: &Path) -> Result<Option<String>> {
    if path.is_dir() {
        return Ok(folder(path));
    }
    if !path.is_file() {
        return Ok(Some("a named pipe or a device".into()));
    }
    let start = output::beginning(path, 262)?;
    let known = MAGIC.iter().find(|(magic, _)| start.starts_with(magic));
    Ok(known.map(|(_, kind)| kind.to_string()).or_else(|| {
        // The magic of a tar file follows the first header's name and numbers.
        let is_tar = start.get(257..262) == Some(b"ustar".as_slice());
        is_tar.then(|| {
            "a tar archive that is not compressed: unpack it, or pack it as .tar.gz".into()
        })
    }))
}

fn folder(path: &Path) -> Option<String> {
    let has = |name: &str| path.join(name).exists();
    if has("data_batch_1.mat") || has("cifar-10-batches-mat") {
        return Some("CIFAR-10's MATLAB version, not its binary or Python version".into());
    }
    if has("trainLabels.csv") {
        return Some(
            "Kaggle's form of CIFAR-10: numbered images, their labels in trainLabels.csv".into(),
        );
    }
    let mut entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.find_map(|entry| {
        let name = entry.path();
        match name.extension()?.to_str()? {
            "parquet" => Some("Parquet files, as Hugging Face keeps data sets".to_string()),
            "arrow" => Some("Arrow files, as Hugging Face keeps data sets".into()),
            "npy" | "npz" => {
                Some("NumPy arrays, such as those that trainer eval --cifar10-c reads".into())
            }
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use crate::load;

    #[test]
    fn data_of_other_tools_is_recognized_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (name, bytes, said) in [
            ("train.parquet", b"PAR1abc".as_slice(), "a Parquet file"),
            ("x.npy", b"\x93NUMPY\x01", "a NumPy array"),
            ("x.npz", b"PK\x03\x04abc", "a zip archive"),
            ("data.tar.xz", b"\xfd7zXZ\0", "packed with xz"),
            ("data_batch_1", b"\x80\x02}", "a Python pickle"),
        ] {
            std::fs::write(at(name), bytes).unwrap();
            let error = load(&at(name), 0, None).unwrap_err();
            assert_eq!(error.exit_code(), 3);
            let text = error.to_string();
            assert!(text.contains(said) && text.contains(name), "{text}");
            assert!(
                text.contains("cifar-10-binary.tar.gz"),
                "what is read: {text}"
            );
        }
        for (inside, said) in [
            ("mat/data_batch_1.mat", "MATLAB version"),
            (
                "outer/cifar-10-batches-mat/data_batch_1.mat",
                "MATLAB version",
            ),
            ("kaggle/trainLabels.csv", "Kaggle's form"),
            ("hf/train-00000-of-00001.parquet", "Parquet files"),
        ] {
            let path = at(inside);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "x").unwrap();
            let root = at(inside.split('/').next().unwrap());
            let text = load(&root, 0, None).unwrap_err().to_string();
            assert!(text.contains(said), "{inside}: {text}");
        }
    }
}

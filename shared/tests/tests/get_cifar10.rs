//! The download script `scripts/get-cifar10`, without a network (`file://` addresses).

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// A project folder with the script in it. With `abc`, the script takes the three bytes "abc"
/// for the official archive.
fn project(folder: &Path, abc: bool) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/get-cifar10");
    let mut text = fs::read_to_string(script).unwrap();
    if abc {
        let official = [
            "size=170052171",
            "sha256=c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        ];
        let made = [
            "size=3",
            "sha256=ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ];
        for (official, made) in official.iter().zip(made) {
            assert!(text.contains(official));
            text = text.replace(official, made);
        }
    }
    fs::create_dir_all(folder.join("scripts")).unwrap();
    fs::write(folder.join("scripts/get-cifar10"), text).unwrap();
    folder.join("data")
}

fn get(folder: &Path, source: &Path) -> Output {
    Command::new("bash")
        .arg(folder.join("scripts/get-cifar10"))
        .env("CIFAR10_URL", format!("file://{}", source.display()))
        .output()
        .unwrap()
}

fn fails(output: &Output, code: i32, message: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(
        text.starts_with("error: ") && text.contains(message),
        "{text}"
    );
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn a_wrong_download_exits_with_3_and_leaves_no_archive() {
    for abc in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let data = project(folder.path(), abc);
        let source = folder.path().join("source");
        fs::write(&source, "xyz").unwrap();
        let message = if abc {
            "found sha256"
        } else {
            "found 3 bytes, expected 170052171"
        };
        fails(&get(folder.path(), &source), 3, message);
        assert_eq!(fs::read_dir(data).unwrap().count(), 0);
        fails(
            &get(folder.path(), &folder.path().join("missing")),
            1,
            "missing",
        );
    }
}

#[test]
fn an_interrupted_download_is_resumed_and_not_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let data = project(folder.path(), true);
    let (source, archive) = (
        folder.path().join("source"),
        data.join("cifar-10-binary.tar.gz"),
    );
    // Only the last byte of the source is right: the first two must come from the part.
    fs::write(&source, "--c").unwrap();
    fs::create_dir(&data).unwrap();
    fs::write(data.join("cifar-10-binary.tar.gz.part"), "ab").unwrap();
    assert!(get(folder.path(), &source).status.success());
    assert_eq!(fs::read(&archive).unwrap(), b"abc");
    assert_eq!(fs::read_dir(&data).unwrap().count(), 1);
    assert!(get(folder.path(), Path::new("/missing")).status.success());

    fs::write(&archive, "abd").unwrap();
    fails(&get(folder.path(), &source), 3, "found sha256");
    assert_eq!(
        fs::read(&archive).unwrap(),
        b"abd",
        "a file of the user's is not deleted"
    );
}

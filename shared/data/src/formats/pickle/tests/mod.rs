//! Pickles of every protocol as Python 2 and 3 write them, and a small writer of protocol 2.

mod hostile;

use std::path::Path;

use super::*;

const CIFAR10: PickledBatch = PickledBatch {
    labels: "labels",
    names: "label_names",
};

/// Written by `src/tests/pickles/make.py`.
const FILES: [&str; 8] = [
    "numpy-0",
    "numpy-1",
    "numpy-2",
    "numpy-3",
    "numpy-4",
    "python2-0",
    "python2-1",
    "python2-2",
];

fn file(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/pickles");
    std::fs::read(folder.join(name)).unwrap()
}

fn batch(bytes: &[u8]) -> Result<Vec<Image>> {
    CIFAR10.images("data_batch_1", bytes, 10)
}

/// The message of a refusal, which is one line about bad data.
fn refusal(bytes: &[u8]) -> String {
    let error = batch(bytes).unwrap_err();
    assert_eq!(error.exit_code(), 3, "{error}");
    let text = error.to_string();
    assert!(!text.contains('\n') && text.len() < 300, "{text}");
    text
}

#[test]
fn pickles_of_every_protocol_and_of_both_pythons_are_read_alike() {
    let cifar100 = PickledBatch {
        labels: "fine_labels",
        names: "label_names",
    };
    for name in FILES {
        let bytes = file(name);
        for (format, classes, labels) in [(&CIFAR10, 10, [3, 9]), (&cifar100, 100, [42, 99])] {
            let images = format.images(name, &bytes, classes).unwrap();
            assert_eq!(images.len(), 2, "{name}");
            for (k, (image, label)) in images.iter().zip(labels).enumerate() {
                assert_eq!(image.label, label, "{name}");
                let expected = (0..IMAGE_BYTES).map(|i| (7 * i + 31 * k) as u8);
                assert!(image.pixels.iter().copied().eq(expected), "{name}");
            }
        }
        let names = CIFAR10.class_names(name, &bytes).unwrap();
        assert_eq!(
            names.join(" "),
            "plane car bird cat deer dog frog horse ship truck"
        );
    }
}

/// A pickled array; all parts as they are written in protocol 2.
fn array(dtype: &str, shape: &[u8], fortran: bool, data: &[u8]) -> Vec<u8> {
    let mut bytes =
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\x01b\x87R(K\x01".to_vec();
    bytes.extend(shape);
    bytes.extend(b"cnumpy\ndtype\n");
    bytes.extend([b'U', dtype.len() as u8]);
    bytes.extend(dtype.as_bytes());
    bytes.extend(b"K\0K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb");
    bytes.push(if fortran { 0x88 } else { 0x89 });
    bytes.push(b'T');
    bytes.extend((data.len() as u32).to_le_bytes());
    bytes.extend(data);
    bytes.extend(b"tb");
    bytes
}

fn shape(rows: usize, columns: usize) -> Vec<u8> {
    let mut bytes = vec![b'J'];
    bytes.extend((rows as u32).to_le_bytes());
    bytes.push(b'J');
    bytes.extend((columns as u32).to_le_bytes());
    bytes.push(0x86);
    bytes
}

fn ints(labels: &[i32]) -> Vec<u8> {
    let items = labels
        .iter()
        .flat_map(|label| [&[b'J'][..], &label.to_le_bytes()].concat());
    [&b"]("[..], &items.collect::<Vec<_>>(), b"e"].concat()
}

fn text(text: &str) -> Vec<u8> {
    let length = (text.len() as u32).to_le_bytes();
    [&b"X"[..], &length, text.as_bytes()].concat()
}

fn dict(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let entries = entries
        .iter()
        .map(|(key, value)| [text(key), value.clone()].concat());
    [
        &b"\x80\x02}("[..],
        &entries.collect::<Vec<_>>().concat(),
        b"u.",
    ]
    .concat()
}

/// A batch of these images.
pub fn encode(labels_key: &str, images: &[Image]) -> Vec<u8> {
    let pixels: Vec<u8> = images
        .iter()
        .flat_map(|image| image.pixels.to_vec())
        .collect();
    let labels: Vec<i32> = images.iter().map(|image| image.label.into()).collect();
    let data = array("u1", &shape(images.len(), IMAGE_BYTES), false, &pixels);
    dict(&[("data", data), (labels_key, ints(&labels))])
}

/// A names file.
pub fn encode_names(names_key: &str, names: &[String]) -> Vec<u8> {
    let items = names.iter().flat_map(|name| text(name));
    dict(&[(
        names_key,
        [&b"]("[..], &items.collect::<Vec<_>>(), b"e"].concat(),
    )])
}

//! Tests of the NumPy reader: files that NumPy wrote, and files that are refused.

use super::*;
use crate::IMAGE_BYTES;

/// A file of version 1.0 or 2.0, padded as NumPy pads it.
fn file(version: u8, header: &str, data: &[u8]) -> Vec<u8> {
    let length_bytes = if version == 1 { 2 } else { 4 };
    let before = MAGIC.len() + 2 + length_bytes;
    let padded = (before + header.len() + 1).next_multiple_of(64) - before;
    let mut bytes = [MAGIC, &[version, 0]].concat();
    bytes.extend(&(padded as u32).to_le_bytes()[..length_bytes]);
    bytes.extend(format!("{header:<0$}\n", padded - 1).bytes());
    bytes.extend(data);
    bytes
}

/// The header of an array.
fn header(descr: &str, shape: &str) -> String {
    format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}")
}

fn refusal(bytes: &[u8]) -> String {
    let error = Array::parse("x.npy", bytes).unwrap_err();
    assert_eq!(error.exit_code(), 3, "{error}");
    let text = error.to_string();
    assert!(
        text.starts_with("x.npy: found ") && !text.contains('\n'),
        "{text}"
    );
    text
}

/// Files that `tests/arrays/make.py` made with NumPy.
const BY_NUMPY: [(&[u8], ElementType, &[usize], i64); 6] = [
    (
        include_bytes!("../../tests/arrays/bytes.npy"),
        ElementType::U8,
        &[2, 3],
        5,
    ),
    (
        include_bytes!("../../tests/arrays/int32.npy"),
        ElementType::I32,
        &[4],
        9,
    ),
    (
        include_bytes!("../../tests/arrays/int64.npy"),
        ElementType::I64,
        &[3],
        -7,
    ),
    (
        include_bytes!("../../tests/arrays/version2.npy"),
        ElementType::I64,
        &[3],
        -7,
    ),
    (
        include_bytes!("../../tests/arrays/scalar.npy"),
        ElementType::U8,
        &[],
        200,
    ),
    (
        include_bytes!("../../tests/arrays/empty.npy"),
        ElementType::U8,
        &[0, 2],
        0,
    ),
];

#[test]
fn numpy_files_of_every_type_rank_and_version_are_read() {
    for (bytes, element, shape, last) in BY_NUMPY {
        let array = Array::parse("x.npy", bytes).unwrap();
        assert_eq!((array.element(), array.shape()), (element, shape));
        let last_element = array.data().chunks_exact(element.size()).next_back();
        assert_eq!(last_element.map_or(0, integer), last);
    }
    // Written by this file's own encoder: the same bytes.
    let own = file(1, &header("<i8", "(3,)"), &BY_NUMPY[2].0[128..]);
    assert_eq!(own, BY_NUMPY[2].0);
    let own = file(2, &header("<i8", "(3,)"), &BY_NUMPY[2].0[128..]);
    assert_eq!(own, BY_NUMPY[3].0);
    // Any order of keys, either kind of quotes.
    let text = "{\"shape\":(2,1),'fortran_order':False,\"descr\":'<u1'}";
    let array = file(1, text, &[1, 2]);
    assert_eq!(Array::parse("x.npy", &array).unwrap().shape(), [2, 1]);
}

#[test]
fn hostile_numpy_files_are_refused_in_one_line() {
    let good = header("|u1", "(2,)");
    let dictionary = |text: &str| file(1, text, &[1, 2]);
    let shape = |shape: &str| file(1, &header("|u1", shape), &[1, 2]);
    let cases: &[(Vec<u8>, &str)] = &[
        (vec![], "other first bytes"),
        (b"PK\x03\x04".to_vec(), "other first bytes than \\x93NUMPY"),
        (b"\x93NUMPY".to_vec(), "the end of the file in the header"),
        (
            b"\x93NUMPY\x01\x00\xff".to_vec(),
            "the end of the file in the header",
        ),
        (
            b"\x93NUMPY\x01\x00\xff\x00{}".to_vec(),
            "the end of the file in the header",
        ),
        (
            b"\x93NUMPY\x01\x00\xff\xff{}".to_vec(),
            "a header of 65535 bytes, expected a header of at most",
        ),
        (
            b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}".to_vec(),
            "a header of 4294967295 bytes",
        ),
        (
            file(3, &good, &[1, 2]),
            "version 3.0, expected version 1.0 or 2.0",
        ),
        (
            dictionary("{'descr': '|u1é'}"),
            "a header that is not ASCII",
        ),
        (
            file(1, &good, &[1]),
            "1 bytes after the header, expected 2 of the shape (2,) of |u1",
        ),
        (
            file(1, &good, &[1, 2, 3]),
            "3 bytes after the header, expected 2 of",
        ),
        (
            shape("(2, 4294967296, 4294967296)"),
            "the shape (2, 4294967296, 4294967296), expected a number",
        ),
        (
            shape("(0, 4294967296, 4294967296)"),
            "the shape (0, 4294967296, 4294967296)",
        ),
        (shape("(99999999999999999999999,)"), "of more than 64 bits"),
        (
            shape("(1099511627776,)"),
            "2 bytes after the header, expected 1099511627776",
        ),
        (shape("(-2,)"), "found -2,)"),
        (shape("(2L,)"), "found L,)"),
        (shape("(2)"), "found ), }"),
        (shape("[2]"), "found [2], }"),
        (
            shape(&format!("({})", "1, ".repeat(65))),
            "more than 64 dimensions",
        ),
        (
            dictionary(&good.replace("False", "True")),
            "Fortran order, expected C order",
        ),
        (dictionary(&good.replace("False", "0")), "found 0, 'shape'"),
        (
            dictionary(&header("<f4", "(2,)")),
            "elements of type <f4, expected one of |u1, <i4, <i8",
        ),
        (dictionary(&header(">i8", "(2,)")), "elements of type >i8"),
        (dictionary(&header("|O", "(2,)")), "elements of type |O"),
        (
            dictionary(&good.replace("'|u1'", "[('a', '|u1')]")),
            "found [('a', '|u1')]",
        ),
        (
            dictionary(&good.replace("'descr': '|u1', ", "")),
            "no descr in the header",
        ),
        (
            dictionary(&good.replace("'shape'", "'descr'")),
            "found (2,), } in the header",
        ),
        (
            dictionary(&good.replace(", }", ", 'shape': (2,), }")),
            "the key shape twice",
        ),
        (
            dictionary(&good.replace(", }", ", 'order': 'C'}")),
            "the key order",
        ),
        (
            dictionary(&good.replace(", }", "} + exit()")),
            "found + exit()",
        ),
        (
            dictionary(&good.replace("'|u1'", "'|u1")),
            "found fortran_order'",
        ),
        (dictionary("{"), "the end in the header"),
        (dictionary(""), "the end in the header"),
    ];
    for (bytes, words) in cases {
        let text = refusal(bytes);
        assert!(text.contains(words), "no {words:?} in: {text}");
    }
}

#[test]
fn truncated_and_mutated_numpy_files_are_refused_or_read_and_never_a_panic() {
    let good = file(1, &header("|u1", "(2, 3)"), &[1, 2, 3, 4, 5, 6]);
    for end in 0..good.len() {
        refusal(&good[..end]);
    }
    for place in 0..good.len() {
        for byte in [0, b'9', b'\'', 255] {
            let mut bytes = good.clone();
            bytes[place] = byte;
            if let Ok(array) = Array::parse("x.npy", &bytes) {
                assert_eq!(array.data().len(), 6, "byte {place} is {byte}");
            }
        }
    }
}

#[test]
fn numpy_images_and_labels_have_their_shape_and_range() {
    let images = |shape: &str, count: usize| file(1, &header("|u1", shape), &vec![7; count]);
    let good = images("(2, 32, 32, 3)", 2 * IMAGE_BYTES);
    let good = Array::parse("x.npy", &good).unwrap();
    assert_eq!(good.images().unwrap().len(), 2 * IMAGE_BYTES);
    let labels = good.labels(10).unwrap_err().to_string();
    assert_eq!(
        labels,
        "x.npy: found shape (2, 32, 32, 3) of |u1, expected shape (N,) of integers"
    );
    for (shape, count) in [
        ("(2, 3, 32, 32)", 2 * IMAGE_BYTES),
        ("(32, 32, 3)", IMAGE_BYTES),
        ("(0, 32, 32, 3)", 0),
        ("()", 1),
    ] {
        let bytes = images(shape, count);
        let error = Array::parse("x.npy", &bytes).unwrap().images().unwrap_err();
        let text = error.to_string();
        let found = format!("x.npy: found shape {shape} of |u1, expected shape (N, 32, 32, 3)");
        assert!(text.starts_with(&found), "{text}");
    }
    for (descr, data) in [
        ("|u1", vec![0, 9]),
        ("<i4", [0i32, 9].map(i32::to_le_bytes).concat()),
        ("<i8", [0i64, 9].map(i64::to_le_bytes).concat()),
    ] {
        let bytes = file(1, &header(descr, "(2,)"), &data);
        let array = Array::parse("y.npy", &bytes).unwrap();
        assert_eq!(array.labels(10).unwrap(), [0, 9]);
        let text = array.labels(9).unwrap_err().to_string();
        assert_eq!(text, "y.npy, entry 1: found label 9, expected 0 to 8");
        assert!(array.images().is_err());
    }
    let negative = file(1, &header("<i4", "(1,)"), &(-1i32).to_le_bytes());
    let text = Array::parse("y.npy", &negative).unwrap().labels(10);
    assert!(text.unwrap_err().to_string().contains("label -1"));
}

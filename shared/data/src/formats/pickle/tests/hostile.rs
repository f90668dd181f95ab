//! Hostile, broken and mutated pickles.

use super::*;
use base::random::Stream;

/// A batch of two images with these labels and this array.
fn with(labels: Vec<u8>, data: Vec<u8>) -> Vec<u8> {
    dict(&[("data", data), ("labels", labels)])
}

fn pixels(images: usize) -> Vec<u8> {
    array(
        "u1",
        &shape(images, IMAGE_BYTES),
        false,
        &vec![5; images * IMAGE_BYTES],
    )
}

#[test]
fn hostile_pickles_are_refused_by_name_and_nothing_is_run() {
    let two = || vec![0; 2 * IMAGE_BYTES];
    let cases: [(&str, Vec<u8>, &str); 45] = [
        (
            "os.system",
            b"cposix\nsystem\n(S'touch /tmp/pwned'\ntR.".into(),
            "the callable posix.system",
        ),
        (
            "os.system, protocol 4",
            b"\x80\x04\x8c\x02os\x8c\x06system\x93.".into(),
            "the callable os.system",
        ),
        (
            "eval",
            b"c__builtin__\neval\n.".into(),
            "the callable __builtin__.eval",
        ),
        (
            "a long name",
            [b"cos\n", &vec![b'x'; 9000][..], b"\n."].concat(),
            "the callable os.xxx",
        ),
        (
            "ndarray called",
            b"cnumpy\nndarray\n)R.".into(),
            "Ndarray with other arguments",
        ),
        (
            "reconstruct of a list",
            b"cnumpy.core.multiarray\n_reconstruct\n]\x85R.".into(),
            "Reconstruct with other arguments",
        ),
        (
            "another codec",
            b"c_codecs\nencode\nX\x01\0\0\0aX\x05\0\0\0rot13\x86R.".into(),
            "Encode with other arguments",
        ),
        ("an int called", b"K\x01)R.".into(), "a call of no callable"),
        (
            "INST",
            b"(S'ls'\nios\nsystem\n.".into(),
            "the opcode 0x69 (INST)",
        ),
        (
            "OBJ",
            b"(cnumpy\nndarray\no.".into(),
            "the opcode 0x6f (OBJ)",
        ),
        (
            "NEWOBJ",
            b"cnumpy\nndarray\n)\x81.".into(),
            "the opcode 0x81 (NEWOBJ)",
        ),
        ("PERSID", b"Pfile\n.".into(), "the opcode 0x50 (PERSID)"),
        ("EXT1", b"\x82\x01.".into(), "the opcode 0x82 (EXT)"),
        (
            "a float",
            b"G\0\0\0\0\0\0\0\0.".into(),
            "the opcode 0x47 (FLOAT)",
        ),
        (
            "protocol 5",
            b"\x80\x05}.".into(),
            "pickle protocol 5, expected 0 to 4",
        ),
        ("no bytes", b"".into(), "the end of the file"),
        (
            "a string of 2 GiB",
            b"\x80\x03B\xff\xff\xff\x7fabc.".into(),
            "the end of the file",
        ),
        (
            "a string of 2^64 bytes",
            b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\xffabc.".into(),
            "the end of the file",
        ),
        (
            "a string of negative length",
            b"T\xff\xff\xff\xffabc.".into(),
            "the end of the file",
        ),
        (
            "an integer of 100 bytes",
            [&b"\x8a\x64"[..], &[1; 100], b"."].concat(),
            "more than 64 bits",
        ),
        (
            "an integer of many digits",
            b"L99999999999999999999L\n.".into(),
            "a broken literal",
        ),
        ("an open quote", b"S'abc\n.".into(), "a broken literal"),
        ("an unknown escape", b"S'\\q'\n.".into(), "a broken literal"),
        (
            "text that is no UTF-8",
            b"X\x01\0\0\0\xff.".into(),
            "a broken literal",
        ),
        ("an empty stack", b".".into(), "an empty stack"),
        ("items of a mark", b"N(.".into(), "an empty stack"),
        ("an unknown opcode", b"]N e.".into(), "the opcode 0x20"),
        ("items without a mark", b"]e.".into(), "no mark"),
        ("an unknown memo", b"h\x07.".into(), "an empty memo entry"),
        ("items of an int", b"K\x01Na.".into(), "items for no list"),
        (
            "a key without a value",
            b"}(Nu.".into(),
            "items for no dict",
        ),
        ("a state of a dict", b"}}b.".into(), "a state of no array"),
        (
            "no dict",
            b"K\x01.".into(),
            "no array of 3072 columns under the key 'data'",
        ),
        (
            "a list in itself",
            b"]q\0h\0a.".into(),
            "no array of 3072 columns",
        ),
        (
            "a dict in itself",
            b"}q\0U\x04datah\0s.".into(),
            "no array of 3072 columns",
        ),
        (
            "floats",
            with(
                ints(&[1, 2]),
                array("f4", &shape(2, IMAGE_BYTES), false, &two()),
            ),
            "the dtype f4, expected u1",
        ),
        (
            "Fortran order",
            with(
                ints(&[1, 2]),
                array("u1", &shape(2, IMAGE_BYTES), true, &two()),
            ),
            "Fortran order",
        ),
        (
            "four dimensions",
            with(
                ints(&[1, 2]),
                array("u1", b"(K\x02K\x03K\x20K\x20t", false, &two()),
            ),
            "an array of another shape",
        ),
        (
            "other columns",
            with(ints(&[1, 2]), array("u1", &shape(3, 2048), false, &two())),
            "no array of 3072 columns",
        ),
        (
            "more rows than bytes",
            with(
                ints(&[1, 2]),
                array("u1", &shape(3, IMAGE_BYTES), false, &two()),
            ),
            "6144 bytes of a 3x3072 array",
        ),
        (
            "rows beyond all memory",
            with(
                ints(&[1]),
                array(
                    "u1",
                    b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7fM\0\x0c\x86",
                    false,
                    &two(),
                ),
            ),
            "6144 bytes of a 9223372036854775807x3072 array",
        ),
        (
            "no images",
            with(ints(&[]), pixels(0)),
            "0 images with 0 labels",
        ),
        (
            "a label missing",
            with(ints(&[1]), pixels(2)),
            "2 images with 1 labels",
        ),
        (
            "label 10",
            with(ints(&[1, 10]), pixels(2)),
            "record 1: found label 10, expected 0 to 9",
        ),
        (
            "label -1",
            with(ints(&[-1, 1]), pixels(2)),
            "record 0: found label -1, expected 0 to 9",
        ),
    ];
    for (name, bytes, words) in cases {
        let text = refusal(&bytes);
        assert!(text.starts_with("data_batch_1"), "{name}: {text}");
        assert!(text.contains(words), "{name}: {text}");
    }
    batch(&with(ints(&[1, 2]), pixels(2))).unwrap();
}

#[test]
fn pickles_that_nest_share_or_repeat_without_end_cost_neither_memory_nor_recursion() {
    // A tuple in a tuple, a million times.
    let nested = [&b"N"[..], &vec![0x85; 1_000_000], b"."].concat();
    assert!(refusal(&nested).contains("no array"));
    assert!(refusal(&vec![b'('; 3_000_000]).contains("more opcodes"));
    assert!(refusal(&vec![b']'; 3_000_000]).contains("more opcodes"));
    // Lists of ten times the last list, a hundred times: 10^100 items, if they were copied.
    let laughs = b"](h\0h\0h\0h\0h\0h\0h\0h\0h\0h\0eq\0".repeat(100);
    assert!(refusal(&[&b"]q\0"[..], &laughs, b"."].concat()).contains("no array"));
    // A long text, encoded again and again.
    let start = [text(&"x".repeat(1_000_000)), b"q\0".to_vec()].concat();
    let encode = [
        b"c_codecs\nencode\nh\0".to_vec(),
        text("latin1"),
        b"\x86R".to_vec(),
    ]
    .concat();
    let bytes = [start, encode.repeat(10_000), b".".to_vec()].concat();
    assert!(refusal(&bytes).contains("strings that grow"));
}

#[test]
fn truncated_and_mutated_pickles_are_refused_or_read_and_never_a_panic() {
    for name in FILES {
        let good = file(name);
        for length in (0..good.len()).step_by(97).chain([good.len() - 1]) {
            assert!(refusal(&good[..length]).contains("the end of the file"));
        }
        for mutation in 0..2000 {
            let mut stream = Stream::new(3, "mutation", &[mutation]);
            let mut bytes = good.clone();
            for _ in 0..1 + stream.below(3) {
                // Most bytes are pixels, the interesting ones stand around them.
                let from_end = stream.below(2) == 1;
                let within = stream.below(if mutation % 2 == 0 { 600 } else { good.len() });
                let at = if from_end {
                    good.len() - 1 - within
                } else {
                    within
                };
                bytes[at] = stream.bits() as u8;
            }
            if batch(&bytes).is_err() {
                refusal(&bytes);
            }
            if let Err(error) = CIFAR10.class_names(name, &bytes) {
                assert_eq!(error.exit_code(), 3);
            }
        }
    }
}

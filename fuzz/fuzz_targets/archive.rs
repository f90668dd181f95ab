//! Archive of batch files. After an odd first byte the rest is the file; after an even one it is the tar inside,
//! since checksums of the compression would stop most mutations.
#![no_main]

use std::io::Write;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, content)) = bytes.split_first() else {
        return;
    };
    let path = if kind % 2 == 1 {
        fuzz::file("cifar-10-binary.tar.gz", content)
    } else {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(content).expect("memory");
        let packed = packed.finish().expect("memory");
        fuzz::file("cifar-10-binary.tar.gz", &packed)
    };
    fuzz::checked(data::load(&path, 0, None));
});

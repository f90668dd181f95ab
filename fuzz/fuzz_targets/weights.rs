//! Weights: loaded as a classifier of every architecture and as a detector.
#![no_main]

use candle_core::Device;
use libfuzzer_sys::fuzz_target;
use nn::model::{ARCHITECTURES, Detector, Loaded, Metadata, Weights};

fuzz_target!(|bytes: &[u8]| {
    let Some((weights, metadata)) = fuzz::checked(Weights::parse("weights", bytes, &Device::Cpu))
    else {
        return;
    };
    let more = Metadata::new();
    let loaded = Loaded::parse("weights", bytes.to_vec(), more, None, &Device::Cpu);
    fuzz::checked(loaded);
    for architecture in ARCHITECTURES {
        fuzz::checked(architecture.load("weights", weights.clone()));
    }
    fuzz::checked(Detector::new("weights", weights.clone()));
    let again = weights.bytes(&metadata).expect("bytes");
    Weights::parse("again", &again, &Device::Cpu).expect("its own bytes");
});

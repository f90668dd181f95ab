//! Weights: read as a ResNet34's and as a detector's.
#![no_main]

use candle_core::Device;
use libfuzzer_sys::fuzz_target;
use nn::model::{Detector, ResNet34, Weights};

fuzz_target!(|bytes: &[u8]| {
    let Some((weights, metadata)) = fuzz::checked(Weights::parse("weights", bytes, &Device::Cpu))
    else {
        return;
    };
    fuzz::checked(ResNet34::new("weights", weights.clone()));
    fuzz::checked(Detector::new("weights", weights.clone()));
    let again = weights.bytes(&metadata).expect("bytes");
    Weights::parse("again", &again, &Device::Cpu).expect("its own bytes");
});

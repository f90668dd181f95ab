//! A run folder: its files one after the other, each but the last ended by a byte 255; read to go on
//! with the run, and to report on it.
#![no_main]

use candle_core::Device;
use libfuzzer_sys::fuzz_target;
use trainer::{checkpoint, config::Config, report};

const FILES: [&str; 5] = [
    "config.toml",
    "metrics.jsonl",
    "report.json",
    "last/state.json",
    "last/net.safetensors",
];

fuzz_target!(|bytes: &[u8]| {
    let run = fuzz::path("run");
    let _ = std::fs::remove_dir_all(&run);
    let files = bytes.splitn(FILES.len(), |byte| *byte == 255);
    for (name, content) in FILES.iter().zip(files) {
        fuzz::file(&format!("run/{name}"), content);
    }
    if let Ok(config) = Config::read(&run.join("config.toml")) {
        config.check_same(&config, &run).expect("the same settings");
    }
    let _ = checkpoint::load(&run, &Device::Cpu);
    let _ = report::write(&[run], None, &fuzz::path("report.html"), true);
});

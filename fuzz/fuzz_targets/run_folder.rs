//! Run folder, resumed and reported on: the input is its files one after the other, with a mark between them.
#![no_main]

use candle_core::Device;
use libfuzzer_sys::fuzz_target;
use trainer::{checkpoint, config::Config, report};

const MARK: &[u8] = b"\xff\nnext\n";

const FILES: [&str; 6] = [
    "config.toml",
    "metrics.jsonl",
    "report.json",
    "last/state.json",
    "last/net.safetensors",
    "last/net-momentum.safetensors",
];

/// The bytes before the first mark, and those after it.
fn split(bytes: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mark = bytes.windows(MARK.len()).position(|some| some == MARK);
    match mark {
        Some(at) => (&bytes[..at], Some(&bytes[at + MARK.len()..])),
        None => (bytes, None),
    }
}

fuzz_target!(|bytes: &[u8]| {
    let run = fuzz::path("run");
    let _ = std::fs::remove_dir_all(&run);
    let mut rest = Some(bytes);
    for name in FILES {
        let Some(bytes) = rest else { break };
        let (content, after) = split(bytes);
        fuzz::file(&format!("run/{name}"), content);
        rest = after;
    }
    if let Ok(config) = Config::read(&run.join("config.toml")) {
        config
            .check_same(&config, &run, false)
            .expect("the same settings");
    }
    let _ = checkpoint::load(&run, &Device::Cpu);
    let _ = report::write(&[run], None, &fuzz::path("report.html"), true);
});

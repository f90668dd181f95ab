//! The GPU of the tests on CUDA, one test at a time, and numbers of its tensors.

use std::{
    env,
    io::Write,
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
};

use candle_core::{DType, Device, Tensor};

/// The GPU, and a lock: tests run one at a time, since candle keeps the precision of its own matrix products in a
/// global. Without a GPU prints why `test` is skipped.
pub fn open(test: &str) -> Option<(Device, MutexGuard<'static, ()>)> {
    static LOCK: Mutex<()> = Mutex::new(());
    let lock = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    static DEVICE: Mutex<Option<Device>> = Mutex::new(None);
    let mut opened = DEVICE.lock().unwrap_or_else(PoisonError::into_inner);
    if opened.is_none() {
        match Device::new_cuda_with_stream(0) {
            Ok(device) => *opened = Some(device),
            Err(reason) => {
                // Not by a macro: the harness would capture it.
                let line = format!("SKIPPED {test}: no GPU can be opened: {reason}\n");
                std::io::stderr().write_all(line.as_bytes()).unwrap();
                return None;
            }
        }
    }
    Some((opened.clone()?, lock))
}

/// All numbers of a tensor.
pub fn floats(tensor: &Tensor) -> Vec<f32> {
    let tensor = tensor.to_dtype(DType::F32).unwrap();
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// Runs the tests of this name in a process of its own, with other settings, and returns what it logs.
pub fn run_again(test: &str, settings: &[(&str, &str)]) -> String {
    let output = Command::new(env::current_exe().unwrap())
        .args([test, "--nocapture"])
        .envs(settings.iter().copied())
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{log}");
    log
}

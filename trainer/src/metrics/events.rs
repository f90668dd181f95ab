//! TensorBoard event file: every number of an epoch's metrics as a scalar tagged with its path, such as
//! `val/attacks/fgsm`, with the epoch as its step.
//!
//! The file is a TFRecord file of `Event` messages (TensorFlow's event.proto). The few fields that are needed are
//! encoded here, in fewer lines than a protobuf crate with the generated messages takes.

use std::{
    fs,
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use base::{Error, Result};
use serde_json::Value;

use super::EpochMetrics;

/// Path of a run's event file; TensorBoard searches for files of this pattern.
pub fn path(run: &Path) -> PathBuf {
    run.join("events.out.tfevents.0.mithridate")
}

/// Rewrites the file from all epochs, which also repairs what a kill left of it. Without an epoch there is no
/// file.
///
/// # Errors
/// [`Error::Io`] when it cannot be written.
pub fn rewrite(run: &Path, epochs: &[EpochMetrics]) -> Result<()> {
    let path = path(run);
    if epochs.is_empty() {
        return match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Error::io("remove", &path)(error))
            }
            _ => Ok(()),
        };
    }
    // Field 3, file_version.
    let mut bytes = record(&event(0.0, 0, &field(3, b"brain.Event:2")));
    for last in 1..=epochs.len() {
        bytes.extend(last_record(&epochs[..last])?);
    }
    // Not atomic: what a kill leaves is rewritten when the run resumes.
    fs::write(&path, &bytes).map_err(Error::io("write", &path))
}

/// Appends the last of a run's epochs.
///
/// # Errors
/// [`Error::Io`] when it cannot be written.
pub fn append(run: &Path, epochs: &[EpochMetrics]) -> Result<()> {
    let path = path(run);
    if !path.exists() {
        return rewrite(run, epochs);
    }
    let mut file = fs::File::options()
        .append(true)
        .open(&path)
        .map_err(Error::io("open", &path))?;
    file.write_all(&last_record(epochs)?)
        .map_err(Error::io("write", &path))
}

/// The last epoch's scalars as one record.
fn last_record(epochs: &[EpochMetrics]) -> Result<Vec<u8>> {
    let Some(metrics) = epochs.last() else {
        return Ok(Vec::new());
    };
    let value = serde_json::to_value(metrics)
        .map_err(|error| Error::data("metrics of an epoch", error, "what JSON can say"))?;
    let mut summary = Vec::new();
    scalars("", &value, &mut summary);
    // Training time instead of wall time, so that a rewritten file has the same bytes.
    let seconds = epochs.iter().map(|metrics| metrics.seconds).sum();
    let step = metrics.epoch.into();
    // Field 5, summary.
    Ok(record(&event(seconds, step, &field(5, &summary))))
}

/// Every number of `value` as a `Summary.Value` (field 1): tag (1) and simple_value (2).
fn scalars(tag: &str, value: &Value, summary: &mut Vec<u8>) {
    match value {
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or(f64::NAN) as f32;
            let mut scalar = field(1, tag.as_bytes());
            scalar.push(2 << 3 | 5);
            scalar.extend(number.to_le_bytes());
            summary.extend(field(1, &scalar));
        }
        Value::Object(parts) => {
            for (name, part) in parts {
                let tag = match tag {
                    "" => name.clone(),
                    _ => format!("{tag}/{name}"),
                };
                // The epoch is the step.
                if tag != "epoch" {
                    scalars(&tag, part, summary);
                }
            }
        }
        _ => {}
    }
}

/// An `Event`: wall_time (1), step (2) and one more field.
fn event(seconds: f64, step: u64, more: &[u8]) -> Vec<u8> {
    let mut event = vec![1 << 3 | 1];
    event.extend(seconds.to_le_bytes());
    event.push(2 << 3);
    event.extend(varint(step));
    event.extend(more);
    event
}

/// A field of bytes: its number and kind, its length, itself.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    field.extend(varint(bytes.len() as u64));
    field.extend(bytes);
    field
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// A TFRecord: length, its checksum, data, its checksum.
fn record(data: &[u8]) -> Vec<u8> {
    let len = (data.len() as u64).to_le_bytes();
    let mut record = len.to_vec();
    record.extend(checksum(&len));
    record.extend(data);
    record.extend(checksum(data));
    record
}

/// CRC-32C, masked as the format requires.
fn checksum(data: &[u8]) -> [u8; 4] {
    crc32c::crc32c(data)
        .rotate_right(15)
        .wrapping_add(0xA282_EAD8)
        .to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tfrecord_has_the_bytes_of_tensorboards_own_writer() {
        // tensorboard.summary.writer.record_writer.RecordWriter, of b"abc".
        let expected = [
            3, 0, 0, 0, 0, 0, 0, 0, 0xb0, 0x99, 0x49, 0x0e, b'a', b'b', b'c', 0x6e, 0x57, 0xf1,
            0x21,
        ];
        assert_eq!(record(b"abc"), expected);
        assert_eq!(varint(300), [0xac, 0x02]);
    }
}

//! Comparison of run folders.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;

use library_tests::files;

/// Fails unless both folders hold the same metrics, times apart, and the same models and checkpoint,
/// byte for byte.
pub fn assert_same_run(run: &Path, other: &Path) {
    assert_eq!(metrics(run), metrics(other));
    let (ours, theirs) = (kept(run), kept(other));
    assert!(ours.keys().eq(theirs.keys()), "{:?}", ours.keys());
    for (name, bytes) in &ours {
        assert!(theirs[name] == *bytes, "{name} is another");
    }
}

/// The lines of `metrics.jsonl` without times.
pub fn metrics(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let line = |line: &str| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        let fields = line.as_object_mut().unwrap();
        for time in ["seconds", "images_per_s"] {
            assert!(fields.remove(time).unwrap().as_f64().unwrap() > 0.0);
        }
        line
    };
    text.lines().map(line).collect()
}

/// Everything in a run folder but the metrics, which the events say again, and the checkpoint before
/// the last; of a store, which says when it was made, the content hash.
fn kept(run: &Path) -> BTreeMap<String, Vec<u8>> {
    let name = |path: &Path| path.strip_prefix(run).unwrap().display().to_string();
    let all = files(run)
        .into_iter()
        .map(|(path, bytes)| (name(&path), bytes));
    let mut kept: BTreeMap<String, Vec<u8>> = all
        .filter(|(name, _)| {
            !name.starts_with("last.before")
                && name != "metrics.jsonl"
                && !name.starts_with("events.")
        })
        .collect();
    if let Some(bytes) = kept.get_mut("atta.db") {
        let store = store::Store::open(&run.join("atta.db")).unwrap();
        *bytes = store.meta().content_hash.clone().unwrap().into_bytes();
    }
    kept
}

/// The `epochs`, or `steps` of the next one, of the checkpoint.
pub fn progress_count(run: &Path, what: &str) -> u64 {
    let state = fs::read(run.join("last/state.json")).unwrap();
    let state: Value = serde_json::from_slice(&state).unwrap();
    state["progress"][what].as_u64().unwrap()
}

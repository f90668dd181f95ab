//! Metrics round-trip through `metrics.jsonl`, damaged lines are named, resuming repairs the file.

use std::path::PathBuf;

use super::*;

const PRETRAIN: &str = r#"{"epoch":1,"seconds":12.5,"images_per_s":210.0,"lr":0.01,"train":{"loss":1.5,"accuracy":0.5,"cross_entropy":1.5,"smooth_l1":null,"detector_loss":null,"detector_accuracy":null},"mixture":null,"val":{"clean":0.75,"attacks":{},"mixed":null,"detector":null},"best":true}"#;

const JOINT: &str = r#"{"epoch":2,"seconds":12.5,"images_per_s":210.0,"lr":0.01,"train":{"loss":1.5,"accuracy":0.5,"cross_entropy":1.25,"smooth_l1":0.25,"detector_loss":0.5,"detector_accuracy":0.625},"mixture":{"share":0.5,"probabilities":{"nst":0.25,"bim":0.75},"drawn":{"clean":1000,"nst":250,"bim":750}},"val":{"clean":0.75,"attacks":{"nst":0.5,"bim":0.25},"mixed":0.5,"detector":{"accuracy":0.75,"auc":0.875}},"best":false}"#;

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.jsonl");
    fs::write(&path, text).unwrap();
    (folder, path)
}

fn epoch(number: u32) -> EpochMetrics {
    let mut metrics: EpochMetrics = serde_json::from_str(JOINT).unwrap();
    metrics.epoch = number;
    metrics
}

#[test]
fn a_line_of_metrics_keeps_its_json_and_the_order_of_its_names() {
    for text in [PRETRAIN, JOINT] {
        let metrics: EpochMetrics = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&metrics).unwrap(), text);
    }
    let names: Vec<String> = epoch(1).val.attacks.0.into_iter().map(|(n, _)| n).collect();
    assert_eq!(names, ["nst", "bim"]);
}

#[test]
fn appended_lines_of_metrics_are_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.jsonl");
    for number in 1..=3 {
        append(&path, &epoch(number)).unwrap();
    }
    assert_eq!(read(&path).unwrap(), [1, 2, 3].map(epoch));
}

#[test]
fn a_non_finite_metric_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.jsonl");
    let (mut plain, mut optional) = (epoch(1), epoch(1));
    plain.train.loss = f64::NAN;
    optional.train.smooth_l1 = Some(f64::INFINITY);
    for metrics in [plain, optional] {
        assert_eq!(append(&path, &metrics).unwrap_err().exit_code(), 5);
    }
    assert!(!path.exists());
}

#[test]
fn a_damaged_line_of_metrics_is_named_by_its_number() {
    let twice = JOINT.replace("\"nst\":0.5,\"bim\"", "\"nst\":0.5,\"nst\"");
    let cases = [
        format!("{PRETRAIN}\n{{\"epoch\":2}}\n"),
        format!("{PRETRAIN}\n{}\n{JOINT}\n", &JOINT[..90]),
        format!("{PRETRAIN}\n{twice}\n"),
    ];
    for text in cases {
        let (_folder, path) = file(&text);
        let error = read(&path).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        assert!(error.to_string().contains("metrics.jsonl:2: "), "{error}");
    }
}

#[test]
fn resuming_removes_later_epochs_and_a_half_written_line() {
    let half = &JOINT[..90];
    let (_folder, path) = file(&format!("{PRETRAIN}\n{JOINT}\n{half}"));
    resume_after(&path, 2).unwrap();
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        format!("{PRETRAIN}\n{JOINT}\n")
    );
    resume_after(&path, 1).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{PRETRAIN}\n"));

    // Only the line's end is missing: the next line must not grow onto it.
    let (_folder, path) = file(PRETRAIN);
    resume_after(&path, 1).unwrap();
    append(&path, &epoch(2)).unwrap();
    assert_eq!(read(&path).unwrap().len(), 2);
}

#[test]
fn resuming_skips_repeated_blank_and_damaged_lines_of_metrics() {
    let damaged = &JOINT[..90];
    let text = format!("{PRETRAIN}\n\n{PRETRAIN}\n{damaged}\n{JOINT}\n{JOINT}\n");
    let (_folder, path) = file(&text);
    let lines = resume_after(&path, 2).unwrap();
    assert_eq!(lines.len(), 2);
    let mended = format!("{PRETRAIN}\n{JOINT}\n");
    assert_eq!(fs::read_to_string(&path).unwrap(), mended);
    // A line that is missing is not made up, and the checkpoint counts all the same.
    let (_folder, path) = file(&format!("{JOINT}\n"));
    assert_eq!(resume_after(&path, 2).unwrap().len(), 1);
}

#[test]
fn reading_skips_repeated_blank_and_unfinished_lines_of_metrics() {
    let half = &JOINT[..90];
    let (_folder, path) = file(&format!("{PRETRAIN}\n\n{PRETRAIN}\n{JOINT}\n{half}"));
    let epochs = read(&path).unwrap();
    assert_eq!(epochs.iter().map(|e| e.epoch).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(epochs_logged(&path).unwrap(), 2);
}

#[test]
fn resuming_without_metrics_creates_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let lines = resume_after(&folder.path().join("metrics.jsonl"), 0).unwrap();
    assert!(lines.is_empty());
}

#[test]
fn events_appended_epoch_by_epoch_equal_those_rewritten_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (one_by_one, at_once) = (folder.path().join("a"), folder.path().join("b"));
    for run in [&one_by_one, &at_once] {
        fs::create_dir(run).unwrap();
    }
    let epochs = [epoch(1), epoch(2), epoch(5)];
    for last in 1..=epochs.len() {
        events::append(&one_by_one, &epochs[..last]).unwrap();
    }
    events::rewrite(&at_once, &epochs).unwrap();
    let bytes = |run: &Path| fs::read(events::path(run)).unwrap();
    assert!(bytes(&one_by_one) == bytes(&at_once) && !bytes(&at_once).is_empty());
    events::rewrite(&at_once, &[]).unwrap();
    assert!(!events::path(&at_once).exists());
}

//! Random numbers of a training: what runs of one seed have in common, and runs that share a schedule.

use candle_core::Device;
use nn::model::Weights;
use serde_json::Value;

use crate::{common::TestDir, methods::train, runs::metrics};
use library_tests::assert_success;

/// The second of two epochs, as a run of its own.
const LATER: [&str; 6] = [
    "--epochs",
    "1",
    "--schedule-start",
    "1",
    "--schedule-epochs",
    "2",
];

/// Against a copy of the surrogate stored samples would be white-box.
#[test]
fn a_target_of_the_surrogates_seed_has_other_initial_weights() {
    let dir = TestDir::new();
    let still = ["--seed", "0", "--lr", "0", "--epochs", "1"];
    assert_success(&dir.pretrain("baseline", &still).output().unwrap());
    assert_success(
        &train(&dir, "adversarial", "target", &still)
            .output()
            .unwrap(),
    );
    let filter = |run: &str| {
        let path = dir.path(run).join("best.safetensors");
        let (weights, _) = Weights::read(&path, &Device::Cpu).unwrap();
        let filter = weights.get("conv1.weight").unwrap();
        filter.flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    assert_ne!(filter("baseline"), filter("target"));
}

#[test]
fn a_run_after_schedule_start_sees_the_images_as_the_later_epochs_of_one_run() {
    let dir = TestDir::with_images();
    // At a learning rate of 0 an epoch's loss depends on order and crops of its images alone.
    let losses = |out: &str, more: &[&str]| -> Vec<Value> {
        let still = [&["--lr", "0", "--augment", "pad"], more].concat();
        assert_success(&dir.pretrain(out, &still).output().unwrap());
        let epochs = metrics(&dir.path(out)).into_iter();
        epochs.map(|epoch| epoch["train"]["loss"].clone()).collect()
    };
    let whole = losses("whole", &["--epochs", "2"]);
    assert_eq!(losses("later", &LATER), whole[1..]);
    assert_ne!(whole[0], whole[1]);
}

#[test]
fn a_run_after_schedule_start_draws_the_mixtures_of_the_later_epochs_of_one_run() {
    let dir = TestDir::new();
    let mixtures = |out: &str, more: &[&str]| -> Vec<Value> {
        let drawn = [&["--adv-ratio", "0.2..0.8", "--lr", "0"], more].concat();
        assert_success(&train(&dir, "adversarial", out, &drawn).output().unwrap());
        let epochs = metrics(&dir.path(out)).into_iter();
        epochs.map(|epoch| epoch["mixture"].clone()).collect()
    };
    // By steps, a period can begin before the run does.
    for (i, redraw) in [&[][..], &["--redraw-every", "3"]].into_iter().enumerate() {
        let whole = mixtures(
            &format!("whole-{i}"),
            &[&["--epochs", "2"], redraw].concat(),
        );
        let second = mixtures(&format!("second-{i}"), &[&LATER[..], redraw].concat());
        assert_eq!(second, whole[1..]);
        assert_ne!(whole[0], whole[1]);
    }
}

/// At learning rates of 0 without augmentation the detector's loss depends on draws, order and dropout alone.
#[test]
fn a_run_after_schedule_start_has_the_dropout_of_the_later_epochs_of_one_run() {
    let dir = TestDir::new();
    let losses = |out: &str, more: &[&str]| -> Vec<Value> {
        let still = ["--lr", "0", "--detector-lr", "0", "--augment", "none"];
        let mut joint = dir.joint(out, &[&still, more].concat());
        assert_success(&joint.output().unwrap());
        let epochs = metrics(&dir.path(out)).into_iter();
        epochs
            .map(|epoch| epoch["train"]["detector_loss"].clone())
            .collect()
    };
    let whole = losses("whole", &["--epochs", "2"]);
    assert_eq!(losses("later", &LATER), whole[1..]);
}

//! Every architecture from pretraining over a store and joint training to an evaluation.

use library_tests::assert_success;
use nn::model::ARCHITECTURES;

use crate::{
    common::{TestDir, small},
    test_store,
};

#[test]
fn every_architecture_is_pretrained_attacked_trained_jointly_and_evaluated() {
    for architecture in ARCHITECTURES {
        let dir = TestDir::with_images();
        let name = architecture.name;
        let mut pretrain = dir.command(&["pretrain", "--data", "data", "--width", "4"]);
        small(&mut pretrain, "base", &["--arch", name, "--epochs", "1"]);
        assert_success(&pretrain.output().unwrap());
        let weights = dir.path("base/best.safetensors");
        test_store::write(&dir.path("data"), &weights, &dir.path("a.db"), true);

        let mut train = dir.joint("joint", &["--arch", name, "--epochs", "1"]);
        let output = train.output().unwrap();
        assert_success(&output);
        let log = String::from_utf8_lossy(&output.stderr);
        let described = format!("{} of width 4", architecture.title);
        assert!(log.contains(&described), "{log}");
        let config = std::fs::read_to_string(dir.path("joint/config.toml")).unwrap();
        assert!(config.contains(&format!("arch = \"{name}\"")), "{config}");

        let result = dir.eval(&["--model", "joint/best.safetensors"]);
        assert_eq!(result["model"]["name"], name);
        assert_eq!(result["model"]["width"], 4);
        assert!(
            result["splits"][0]["detector"]["accuracy"].is_number(),
            "{result}"
        );
    }
}

/// The surrogate's architecture is that of the store, the target model's that of `--arch`.
#[test]
fn a_target_model_may_have_another_architecture_than_the_surrogate() {
    let dir = TestDir::new();
    for architecture in ARCHITECTURES {
        let name = architecture.name;
        let arguments = ["--arch", name, "--epochs", "1"];
        assert_success(&dir.joint(name, &arguments).output().unwrap());
        let result = dir.eval(&["--model", &format!("{name}/best.safetensors")]);
        assert_eq!(result["model"]["name"], name);
    }
}

#[test]
fn config_files_without_an_architecture_resume_as_the_default_one() {
    let dir = TestDir::new();
    let run = || dir.pretrain("run", &[]).output().unwrap();
    assert_success(&run());
    let path = dir.path("run/config.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    let without: Vec<&str> = config
        .lines()
        .filter(|line| !line.starts_with("arch "))
        .collect();
    assert!(without.len() + 1 == config.lines().count(), "{config}");
    std::fs::write(&path, without.join("\n")).unwrap();
    assert_success(&run());
}

#[test]
fn an_unknown_architecture_is_refused_with_the_known_ones() {
    let dir = TestDir::new();
    for command in ["pretrain", "train", "bench"] {
        let mut refused = dir.command(&[command, "--arch", "vgg"]);
        dir.assert_refused(&mut refused, 2, &["vgg", ARCHITECTURES[0].name]);
    }
}

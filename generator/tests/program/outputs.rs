//! Output paths, impossible options, limits, JSON logs, completions, man pages, broken pipes.

use std::{fs, process::Stdio};

use data::Split;
use store::Store;

use crate::common::TestDir;
use library_tests::assert_success;

#[test]
fn an_output_that_exists_is_not_replaced() {
    let dir = TestDir::new();
    assert_success(&dir.build("a.db", &["--attacks", "fgsm"]).output().unwrap());
    let mine = image::RgbImage::new(3, 3);
    mine.save(dir.path("a.png")).unwrap();
    let preview = ["preview", "a.db", "--out", "a.png"];
    dir.assert_refused(&mut dir.command(&preview), 2, &["a.png: exists", "--force"]);
    let synthetic = ["synthetic", "--out", "data", "--count", "50"];
    dir.assert_refused(
        &mut dir.command(&synthetic),
        2,
        &["data: exists", "--force"],
    );
    fs::write(dir.path("notes.txt"), "mine").unwrap();
    let build = &mut dir.build("notes.txt", &[]);
    dir.assert_refused(build, 3, &["notes.txt: found no SQLite file"]);
    let build = &mut dir.build("no/such/folder/a.db", &[]);
    dir.assert_refused(build, 2, &["no/such/folder/a.db", "does not exist"]);

    assert_success(&dir.run(&[&preview[..], &["--force"]].concat()));
    let sheet = image::open(dir.path("a.png")).unwrap();
    // Ten images over their differences, clean and one attack, each 34 pixels twice as large.
    assert_eq!((sheet.width(), sheet.height()), (2 * 68, 20 * 68));
    assert_success(&dir.run(&[&synthetic[..], &["--force", "--seed", "1"]].concat()));
}

#[test]
fn impossible_options_are_refused_before_anything_is_written() {
    let dir = TestDir::new();
    let assert_refused = |more: &[&str], words: &[&str]| {
        dir.assert_refused(&mut dir.build("a.db", more), 2, words);
    };
    assert_refused(
        &["--precision", "bf16"],
        &["--precision bf16", "take f32 or tf32"],
    );
    assert_refused(
        &["--precision", "tf32"],
        &["--precision tf32 is for CUDA", "the CPU computes in f32"],
    );
    assert_refused(
        &["--attacks", "fgsm,no-such-attack"],
        &[
            "--attacks fgsm,no-such-attack",
            "'no-such-attack' is none of gaussian",
        ],
    );
    assert_refused(&["--limit", "15"], &["limit 15", "multiple of 10"]);
    assert_refused(
        &["--limit", "60"],
        &["limit 60 asks for 6", "the rarest has"],
    );
    fs::write(dir.path("quick.toml"), "[cw\nsteps = 3").unwrap();
    let expected = [
        "quick.toml: found TOML parse error at line 1",
        "expected TOML",
    ];
    dir.assert_refused(&mut dir.build("a.db", &[]), 3, &expected);
    fs::write(dir.path("quick.toml"), "[cw]\nsteps = 0").unwrap();
    let expected = ["quick.toml: [cw] steps: found 0, expected "];
    dir.assert_refused(&mut dir.build("a.db", &[]), 3, &expected);
    let unknown = dir.build("a.db", &["--preset", "usual"]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&unknown.stderr).starts_with("error: invalid value 'usual'"));
}

#[test]
fn a_missing_cuda_device_is_an_error_and_no_fallback_to_the_cpu() {
    if nn::device::HAS_CUDA {
        return;
    }
    let dir = TestDir::new();
    let expected = ["--device cuda:0", "built without CUDA"];
    let build = &mut dir.command(&["build", "--device", "cuda", "--out", "a.db"]);
    build.args(["--data", "data", "--model", "model.safetensors"]);
    dir.assert_refused(build, 4, &expected);
}

#[test]
fn a_store_with_limit_is_balanced_over_the_classes() {
    let dir = TestDir::new();
    let more = ["synthetic", "--out", "data", "--count", "200", "--force"];
    assert_success(&dir.run(&more));
    let limited = ["--attacks", "gaussian", "--limit", "50"];
    assert_success(&dir.build("a.db", &limited).output().unwrap());
    let store = Store::open(&dir.path("a.db")).unwrap();
    for (split, each) in [(Split::Train, 5), (Split::Test, 1)] {
        let mut labels = store.load(split).unwrap().labels;
        labels.sort_unstable();
        let expected: Vec<u8> = (0..10).flat_map(|class| vec![class; each]).collect();
        assert_eq!(labels, expected);
    }
}

#[test]
fn attack_parameters_round_trip_through_toml_and_the_store() {
    let dir = TestDir::new();
    let printed = dir.run(&["attacks", "--preset", "standard"]);
    assert_success(&printed);
    fs::write(dir.path("quick.toml"), &printed.stdout).unwrap();
    // On top of the other preset, so that the file alone decides.
    let again = dir.run(&[
        "attacks",
        "--preset",
        "paper",
        "--attacks-config",
        "quick.toml",
    ]);
    assert_eq!(again.stdout, printed.stdout);

    assert_success(
        &dir.build("a.db", &["--attacks", "bim,gaussian"])
            .output()
            .unwrap(),
    );
    let info = dir.info("a.db");
    assert_eq!(info["attacks"][0]["name"], "gaussian");
    assert_eq!(info["attacks"][1]["name"], "bim");
    let printed: toml::Table = String::from_utf8(printed.stdout).unwrap().parse().unwrap();
    for attack in info["attacks"].as_array().unwrap() {
        let name = attack["name"].as_str().unwrap();
        let expected = serde_json::to_value(&printed[name]).unwrap();
        assert_eq!(attack["params"], expected);
    }
    assert_eq!(info["splits"][0]["images"], 45);
    assert_eq!(info["summary"].as_array().unwrap().len(), 2 * 3);
}

#[test]
fn log_format_json_writes_objects_and_quiet_writes_nothing() {
    let dir = TestDir::new();
    let run = |more: &[&str]| {
        let output = dir.build("a.db", more).output().unwrap();
        let lines = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), lines)
    };
    let fgsm = ["--attacks", "fgsm"];
    let (code, lines) = run(&[&fgsm[..], &["--log-format", "json"]].concat());
    assert_eq!(code, Some(0));
    let objects: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    // A model that was never trained is a warning, and warnings stand at the end again.
    let [.., complete, warnings] = &objects[..] else {
        panic!("{lines}");
    };
    assert_eq!(complete["level"], "info");
    assert!(complete["message"].as_str().unwrap().contains("complete"));
    assert_eq!(warnings["level"], "warnings");
    assert_eq!(
        warnings["count"],
        warnings["messages"].as_array().unwrap().len()
    );
    assert!(warnings["messages"][0].as_str().unwrap().contains("--mean"));
    assert!(objects.iter().all(|object| object["time"].is_string()));

    assert_eq!(
        run(&[&fgsm[..], &["--quiet"]].concat()),
        (Some(0), String::new())
    );
    let (code, lines) = run(&["--attacks", "cw", "--quiet", "--log-format", "json"]);
    assert_eq!(code, Some(2));
    let error: serde_json::Value = serde_json::from_str(&lines).unwrap();
    assert_eq!(error["level"], "error");
}

#[test]
fn completions_and_man_pages_cover_every_command() {
    let dir = TestDir::new();
    for shell in ["bash", "zsh", "fish"] {
        let output = dir.run(&["completions", shell]);
        assert_success(&output);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("generator") && text.contains("synthetic"));
    }
    assert_success(&dir.run(&["man", "--out", "man"]));
    for page in ["generator.1", "generator-build.1", "generator-export.1"] {
        let page = fs::read_to_string(dir.path("man").join(page)).unwrap();
        assert!(page.starts_with(".ie") || page.contains(".TH"), "{page}");
    }
}

#[test]
fn a_broken_pipe_on_stdout_or_stderr_is_no_error() {
    let dir = TestDir::new();
    // Neither what a build says nor what `info` prints finds a reader.
    let mut build = dir.build("a.db", &["--attacks", "gaussian"]);
    for command in [&mut build, &mut dir.command(&["info", "a.db"])] {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop((child.stdout.take(), child.stderr.take()));
        assert_eq!(child.wait().unwrap().code(), Some(0), "{command:?}");
    }
}

//! Misleading inputs: single shards, weights and data of other tools, folders, splits of one class.

use std::{fs, process::Command};

use candle_core::Device;
use nn::model::{Architecture, Metadata, Weights};

use super::{GAUSSIAN, build_from, built, stderr};
use crate::common::TestDir;
use library_tests::assert_success;

#[test]
fn a_single_shard_is_a_warning_in_every_command_that_reads_a_store() {
    let dir = built(&["--shard", "1/2"]);
    let commands: [&[&str]; 6] = [
        &["verify", "a.db"],
        &["export", "a.db", "--format", "npz", "--out", "a.npz"],
        &["export", "a.db", "--format", "png", "--out", "png"],
        &["preview", "a.db", "--out", "a.png"],
        &["pack", "a.db", "--out", "a.pack"],
        &["card", "a.db"],
    ];
    for args in commands {
        let output = dir.run(args);
        assert_success(&output);
        assert!(
            stderr(&output).contains("a.db: only shard 1/2 of a store"),
            "{args:?}: {}",
            stderr(&output)
        );
    }
    let info = dir.run(&["info", "a.db"]);
    assert!(String::from_utf8_lossy(&info.stdout).contains("warning: only shard 1/2"));
    let card = fs::read_to_string(dir.path("a.md")).unwrap();
    assert!(card.contains("only shard 1/2"), "{card}");
}

#[test]
fn slurm_array_variables_choose_the_shard_only_with_shard_slurm() {
    let dir = TestDir::new();
    let mut build = dir.build("a.db", &GAUSSIAN);
    for (name, value) in [("ID", "3"), ("COUNT", "4"), ("MIN", "1")] {
        build.env(format!("SLURM_ARRAY_TASK_{name}"), value);
    }
    assert_success(&build.output().unwrap());
    assert_eq!(dir.info("a.db")["meta"]["shard"], "1/1");
}

#[test]
fn a_split_of_one_class_is_refused_only_by_attacks_that_need_a_style() {
    let dir = TestDir::new();
    // The last tenth of the permuted images becomes val: all of one class.
    let path = dir.path("data");
    let only_val = |label: u8| {
        let data = data::load(&path, 0, None).unwrap();
        let mut images: Vec<_> = data
            .train
            .iter()
            .map(|i| (i.source_index, i.label, &i.pixels))
            .collect();
        images.extend(data.val.iter().map(|i| (i.source_index, label, &i.pixels)));
        images.sort_by_key(|(index, ..)| *index);
        let records = images
            .iter()
            .flat_map(|(_, label, pixels)| [&[*label][..], pixels].concat());
        let records: Vec<u8> = records.collect();
        for (number, batch) in (1..).zip(records.chunks(10 * 3073)) {
            fs::write(path.join(format!("data_batch_{number}.bin")), batch).unwrap();
        }
    };
    only_val(3);
    assert_success(&dir.build("a.db", &GAUSSIAN).output().unwrap());
    let words = ["images of val: found only the class triangle", "nst"];
    dir.assert_refused(&mut dir.build("b.db", &["--attacks", "nst"]), 3, &words);
}

#[test]
fn weights_and_data_of_other_tools_are_named_in_the_refusal() {
    let dir = TestDir::new();
    fs::write(
        dir.path("model.pth"),
        b"PK\x03\x04 and what torch.save writes",
    )
    .unwrap();
    let mut pth = dir.command(&[
        "build",
        "--data",
        "data",
        "--model",
        "model.pth",
        "--out",
        "a.db",
    ]);
    dir.assert_refused(
        &mut pth,
        3,
        &[
            "model.pth: found a zip archive, as torch.save writes",
            "safetensors",
        ],
    );

    let model = Architecture::DEFAULT.init(2, 10, 1, &Device::Cpu).unwrap();
    let prefixed = |prefix: &str| {
        let tensors = model.weights().tensors().iter();
        let named = tensors.map(|(name, tensor)| (format!("{prefix}{name}"), tensor.clone()));
        let weights: Weights = named.collect();
        weights
            .write(&dir.path("model.safetensors"), &Metadata::new())
            .unwrap();
    };
    for prefix in ["module.", "_orig_mod.", "model."] {
        prefixed(prefix);
        let words = [
            "model.safetensors: tensors: found names that begin with",
            prefix,
        ];
        dir.assert_refused(&mut dir.build("a.db", &[]), 3, &words);
    }
    prefixed("");
    fs::create_dir(dir.path("cifar-10-batches-py")).unwrap();
    fs::write(dir.path("cifar-10-batches-py/data_batch_1"), b"\x80\x02").unwrap();
    let words = ["cifar-10-batches-py/data_batch_1, before byte 2: found the end of the file"];
    dir.assert_refused(
        &mut build_from(&dir, "cifar-10-batches-py", "a.db", &[]),
        3,
        &words,
    );
    let archive = Command::new("tar")
        .args(["-czf", "cifar-10-python.tar.gz", "cifar-10-batches-py"])
        .current_dir(dir.path("."))
        .status();
    assert!(archive.unwrap().success());
    let words = ["cifar-10-python.tar.gz, cifar-10-batches-py/data_batch_1, before byte 2: found "];
    dir.assert_refused(
        &mut build_from(&dir, "cifar-10-python.tar.gz", "a.db", &[]),
        3,
        &words,
    );
}

#[test]
fn a_folder_in_place_of_a_file_is_bad_data_on_one_line() {
    let dir = TestDir::new();
    let commands: [&[&str]; 6] = [
        &["verify", "data"],
        &["info", "data"],
        &["unpack", "data", "--out", "b.db"],
        &["export", "data", "--format", "npz", "--out", "a.npz"],
        &["attacks", "--attacks-config", "data"],
        &[
            "build", "--data", "data", "--model", "data", "--out", "a.db",
        ],
    ];
    for args in commands {
        dir.assert_refused(
            &mut dir.command(args),
            3,
            &["data: found a folder, expected "],
        );
    }
}

#[test]
fn a_fraction_in_attacks_config_is_refused_with_the_expected_type() {
    let dir = TestDir::new();
    fs::write(dir.path("a.toml"), "[fgsm]\nstep = \"8/255\"\n").unwrap();
    let attacks = &mut dir.command(&["attacks", "--attacks-config", "a.toml"]);
    dir.assert_refused(
        attacks,
        3,
        &["a.toml: [fgsm] step: found \"8/255\", expected a number"],
    );
}

#[test]
fn amplifications_and_counts_out_of_range_are_refused() {
    let dir = TestDir::new();
    for factor in ["nan", "inf", "0", "-1", "256"] {
        let preview = ["preview", "a.db", "--out", "a.png"];
        let amplify = format!("--amplify={factor}");
        let command = &mut dir.command(&[&preview[..], &[&amplify]].concat());
        dir.assert_refused(command, 2, &["--amplify", "from 1 to 255"]);
    }
    for count in ["0", "20", "5000000000", "18446744073709551600"] {
        let command = &mut dir.command(&["synthetic", "--out", "new", "--count", count]);
        dir.assert_refused(command, 2, &[count, "multiple of 50", "a million"]);
    }
}

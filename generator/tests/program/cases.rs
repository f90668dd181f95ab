//! Cases that people report of other tools: names and forms of files, models of other people, parts of
//! stores, outputs that are inputs. docs/cases.md lists them.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Output},
};

use candle_core::Device;
use serde_json::Value;
use shared::{
    cifar10::{self, CLASS_NAMES, Split},
    model::{self, Classifier, Metadata, NormalizationArguments, Origin, ResNet34, likeliest},
    store::Store,
};

use crate::{common::Workshop, programs::done};

const GAUSSIAN: [&str; 2] = ["--attacks", "gaussian"];

fn built(more: &[&str]) -> Workshop {
    let workshop = Workshop::new();
    let build = &mut workshop.build("a.db", &[&GAUSSIAN, more].concat());
    done(&build.output().unwrap());
    workshop
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A build from other data.
fn build_from(workshop: &Workshop, data: &str, out: &str, more: &[&str]) -> Command {
    let mut command = workshop.command(&["build", "--model", "net.safetensors"]);
    command.args(["--device", "cpu", "--data", data, "--out", out]);
    command.args(GAUSSIAN).args(more);
    command
}

/// The model of the workshop again, with metadata.
fn write_model(workshop: &Workshop, metadata: &[(&str, &str)]) {
    let net = ResNet34::init(2, 1, &Device::Cpu).unwrap();
    let entries = metadata
        .iter()
        .map(|(key, value)| (key.to_string(), value.to_string()));
    let path = workshop.path("net.safetensors");
    net.weights().write(&path, &entries.collect()).unwrap();
}

/// An image folder of the workshop's data: a PNG for each image, under names that `name` makes of their index.
fn image_folder(workshop: &Workshop, out: &str, classes: &[&str], name: impl Fn(usize) -> String) {
    let data = cifar10::load(&workshop.path("data"), 0, None).unwrap();
    let train = data.train.iter().chain(&data.val);
    for (part, images) in [
        ("train", train.collect::<Vec<_>>()),
        ("test", data.test.iter().collect()),
    ] {
        for class in classes {
            fs::create_dir_all(workshop.path(&format!("{out}/{part}/{class}"))).unwrap();
        }
        for (index, image) in images.into_iter().enumerate() {
            let pixels = &image.pixels;
            let png = image::RgbImage::from_fn(32, 32, |x, y| {
                let at = (32 * y + x) as usize;
                image::Rgb([pixels[at], pixels[1024 + at], pixels[2048 + at]])
            });
            let class = classes[usize::from(image.label)];
            let file = format!("{out}/{part}/{class}/{}.png", name(index));
            png.save(workshop.path(&file)).unwrap();
        }
    }
}

#[test]
fn an_output_that_is_an_input_is_refused_by_every_command_and_whatever_link() {
    let workshop = built(&[]);
    done(&workshop.run(&["pack", "a.db", "--out", "a.pack"]));
    fs::hard_link(workshop.path("a.db"), workshop.path("hard")).unwrap();
    symlink(workshop.path("a.db"), workshop.path("soft")).unwrap();
    let refuses = |args: &[&str], out: &str| {
        let command = &mut workshop.command(&[args, &["--out", out, "--force"]].concat());
        workshop.refuses(command, 2, &[out, "is the input"]);
    };
    for out in ["a.db", "./a.db", "../a.db", "hard", "soft"] {
        let out = &out.replace("../", &format!("../{}/", folder_name(&workshop)));
        for format in ["npz", "png", "webdataset"] {
            refuses(&["export", "a.db", "--format", format], out);
        }
        refuses(&["preview", "a.db"], out);
        refuses(&["pack", "a.db"], out);
        refuses(&["merge", "a.db"], out);
    }
    refuses(&["unpack", "a.pack"], "a.pack");
    let build = ["build", "--data", "data", "--model", "net.safetensors"];
    refuses(&build, "net.safetensors");
    refuses(&build, "data");
    // A card is written beside the store, under other endings: here under its own name.
    fs::remove_file(workshop.path("soft")).unwrap();
    fs::rename(workshop.path("a.db"), workshop.path("a.md")).unwrap();
    let card = &mut workshop.command(&["card", "a.md", "--force"]);
    workshop.refuses(card, 2, &["a.md: is the input a.md"]);
}

fn folder_name(workshop: &Workshop) -> String {
    let folder = workshop.path(".").canonicalize().unwrap();
    folder.file_name().unwrap().to_str().unwrap().to_string()
}

#[test]
fn force_replaces_nothing_of_another_kind_than_what_is_written() {
    let workshop = built(&[]);
    done(&workshop.run(&["pack", "a.db", "--out", "a.pack"]));
    fs::create_dir(workshop.path("folder")).unwrap();
    for name in ["thesis.tex", "folder/thesis.tex"] {
        fs::write(workshop.path(name), "years of work").unwrap();
    }
    let made = Command::new("mkfifo").arg(workshop.path("pipe")).status();
    assert!(made.unwrap().success());
    let commands: [&[&str]; 7] = [
        &["export", "a.db", "--format", "npz"],
        &["export", "a.db", "--format", "png"],
        &["export", "a.db", "--format", "webdataset"],
        &["preview", "a.db"],
        &["pack", "a.db"],
        &["unpack", "a.pack"],
        &["synthetic", "--count", "50"],
    ];
    for args in commands {
        for out in ["thesis.tex", "folder", "pipe", "/dev/null"] {
            let command = workshop.command(&[args, &["--out", out, "--force"]].concat());
            let output = { command }.output().unwrap();
            let code = output.status.code();
            let text = said(&output);
            // Of a file that is no store it is told what it is.
            assert!(code == Some(2) || code == Some(3), "{args:?} {out}: {text}");
            assert!(
                text.contains(out.trim_start_matches('/')),
                "{args:?}: {text}"
            );
        }
    }
    for name in ["thesis.tex", "folder/thesis.tex"] {
        let kept = fs::read_to_string(workshop.path(name)).unwrap();
        assert_eq!(kept, "years of work");
    }
    // Whoever looks at all files would wait for it.
    fs::remove_file(workshop.path("pipe")).unwrap();
    // What is of the same kind is replaced, and only with --force.
    for (args, out) in [
        (0, "a.npz"),
        (1, "png"),
        (2, "tar"),
        (3, "a.png"),
        (4, "a.pack"),
        (5, "b.db"),
    ]
    .map(|(command, out)| (commands[command], out))
    {
        let command = [args, &["--out", out]].concat();
        if !workshop.path(out).exists() {
            done(&workshop.run(&command));
        }
        workshop.refuses(
            &mut workshop.command(&command),
            2,
            &[out, "exists", "--force"],
        );
        done(&workshop.run(&[&command[..], &["--force"]].concat()));
    }
}

#[test]
fn a_lock_file_of_the_users_own_is_not_removed() {
    let workshop = Workshop::new();
    fs::write(workshop.path("Cargo.lock"), "version = 4\n").unwrap();
    let said = ["Cargo.lock: found a file that is no lock", "another output"];
    workshop.refuses(&mut workshop.build("Cargo", &GAUSSIAN), 2, &said);
}

#[test]
fn the_content_hash_does_not_depend_on_names_of_folders_and_files() {
    let workshop = built(&[]);
    let expected = workshop.hash("a.db");
    // A folder of another name, and the archive of it.
    fs::rename(workshop.path("data"), workshop.path("bob")).unwrap();
    let packed = Command::new("tar")
        .args(["-czf", "whatever.tar.gz", "bob"])
        .current_dir(workshop.path("."))
        .status();
    assert!(packed.unwrap().success());
    for (data, out) in [("bob", "b.db"), ("whatever.tar.gz", "c.db")] {
        done(&build_from(&workshop, data, out, &[]).output().unwrap());
        assert_eq!(workshop.hash(out), expected, "{data}");
    }
    // A build that was begun from the one is resumed, or complete, from the other.
    let again = build_from(&workshop, "whatever.tar.gz", "a.db", &[])
        .output()
        .unwrap();
    done(&again);
    assert!(said(&again).contains("a.db: already complete"));
    // Shards of both make one store.
    for (data, shard) in [("bob", "1/2"), ("whatever.tar.gz", "2/2")] {
        let out = format!("{}.db", &shard[..1]);
        done(
            &build_from(&workshop, data, &out, &["--shard", shard])
                .output()
                .unwrap(),
        );
    }
    done(&workshop.run(&["merge", "--out", "merged.db", "1.db", "2.db"]));
    assert_eq!(workshop.hash("merged.db"), expected);
}

#[test]
fn the_content_hash_does_not_depend_on_names_of_image_files() {
    let workshop = Workshop::new();
    image_folder(&workshop, "a", &CLASS_NAMES, |index| format!("{index:04}"));
    image_folder(&workshop, "b", &CLASS_NAMES, |index| {
        format!("x{:04}", 9999 - index)
    });
    for data in ["a", "b"] {
        let out = format!("{data}.db");
        done(&build_from(&workshop, data, &out, &[]).output().unwrap());
    }
    assert_eq!(workshop.hash("a.db"), workshop.hash("b.db"));
    // Other pixels are another content, and the resumed build says what differs.
    let file = workshop
        .path("b/train/cat")
        .read_dir()
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    image::RgbImage::new(32, 32).save(file.path()).unwrap();
    let other = &mut build_from(&workshop, "b", "a.db", &[]);
    workshop.refuses(other, 2, &["a.db: source hash: the file has "]);
}

#[test]
fn the_name_of_a_preset_is_no_content() {
    let workshop = built(&["--preset", "paper"]);
    let output = workshop.build("a.db", &[&GAUSSIAN[..], &["--preset", "standard"]].concat());
    done(&{ output }.output().unwrap());
}

#[test]
fn class_folders_of_other_names_are_a_warning_and_their_names_are_kept() {
    let workshop = Workshop::new();
    let capital = CLASS_NAMES.map(|name| if name == "truck" { "Truck" } else { name });
    let numbers: Vec<String> = (1..=10).map(|number| format!("class{number}")).collect();
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    for (data, classes) in [
        ("official", &CLASS_NAMES[..]),
        ("capital", &capital),
        ("numbers", &numbers),
    ] {
        image_folder(&workshop, data, classes, |index| index.to_string());
        let out = format!("{data}.db");
        let output = build_from(&workshop, data, &out, &[]).output().unwrap();
        done(&output);
        let order = classes.join(", ");
        let warned = said(&output).contains(&format!("labels 0 to 9 are taken to be {order}"));
        assert_eq!(warned, data != "official", "{}", said(&output));
        let info = workshop.info(&out);
        assert_eq!(info["meta"]["classes"], Value::from(classes));
        let kept = info["meta"]["warnings"]
            .to_string()
            .contains("are taken to be");
        assert_eq!(kept, warned, "the store keeps it");
        // No label has shifted.
        assert_eq!(workshop.hash(&out), workshop.hash("official.db"));
        let exported = format!("{data}.png");
        done(&workshop.run(&["export", &out, "--format", "png", "--out", &exported]));
        for class in classes {
            assert!(
                workshop
                    .path(&format!("{exported}/train/clean/{class}"))
                    .is_dir()
            );
        }
    }
}

#[test]
fn an_eleventh_class_folder_is_named() {
    let workshop = Workshop::new();
    image_folder(&workshop, "images", &CLASS_NAMES, |index| index.to_string());
    fs::create_dir(workshop.path("images/train/backup")).unwrap();
    let words = ["images/train: found 11 class folders (airplane, automobile, backup, "];
    workshop.refuses(&mut build_from(&workshop, "images", "a.db", &[]), 3, &words);
}

#[test]
fn normalization_is_kept_in_the_store_and_computed_as_the_models_first_layer() {
    let workshop = Workshop::new();
    let given = [
        "--mean",
        "0.4914,0.4822,0.4465",
        "--std",
        "0.2023,0.1994,0.2010",
    ];
    done(
        &workshop
            .build("a.db", &[&GAUSSIAN[..], &given].concat())
            .output()
            .unwrap(),
    );
    let config = workshop.info("a.db")["model"]["config"].clone();
    assert_eq!(
        (&config["mean"], &config["std"]),
        (&given[1].into(), &"0.2023,0.1994,0.201".into())
    );
    // The same from the header of the weights.
    write_model(&workshop, &[("mean", given[1]), ("std", given[3])]);
    done(&workshop.build("b.db", &GAUSSIAN).output().unwrap());
    let preds = |db: &str| {
        Store::open(&workshop.path(db))
            .unwrap()
            .load(Split::Train)
            .unwrap()
            .preds
    };
    assert_eq!(preds("a.db"), preds("b.db"));
    // What the store says is what the normalized model says.
    let table = Store::open(&workshop.path("b.db"))
        .unwrap()
        .load(Split::Train)
        .unwrap();
    let none = NormalizationArguments::default();
    let loaded = model::load::read(&workshop.path("net.safetensors"), &none, &Device::Cpu).unwrap();
    let clean: Vec<u8> = (0..table.len())
        .flat_map(|row| table.variant(row, 0).to_vec())
        .collect();
    let images = shared::attack::quantise::to_tensor(&clean, &Device::Cpu).unwrap();
    let logits = loaded.net.frozen().unwrap().logits(&images).unwrap();
    assert_eq!(likeliest(&logits).unwrap(), table.clean_preds);
    // What contradicts the header is refused, and so is one of the two alone.
    let other = ["--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5"];
    let words = ["net.safetensors: its header says mean 0.4914", "contradict"];
    workshop.refuses(
        &mut workshop.build("c.db", &[&GAUSSIAN[..], &other].concat()),
        2,
        &words,
    );
    let alone = workshop
        .build("c.db", &["--mean", "0.5,0.5,0.5"])
        .output()
        .unwrap();
    assert_eq!(alone.status.code(), Some(2));
}

#[test]
fn a_model_far_below_its_header_is_a_warning_that_names_normalization() {
    let workshop = Workshop::new();
    write_model(&workshop, &[("accuracy", "0.925")]);
    let output = workshop.build("a.db", &GAUSSIAN).output().unwrap();
    done(&output);
    let text = said(&output);
    for word in [
        "net.safetensors: ",
        "its header says 92.5 %",
        "--mean, --std",
        "order of the classes",
    ] {
        assert!(text.contains(word), "{word} in {text}");
    }
    // It stands at the end again, and in the store.
    assert!(text.contains("\n1 warning:\n  net.safetensors: "), "{text}");
    let info = workshop.run(&["info", "a.db"]);
    assert!(String::from_utf8_lossy(&info.stdout).contains("its header says 92.5 %"));
}

#[test]
fn a_model_trained_on_images_of_val_is_a_warning_that_names_both_seeds() {
    let workshop = Workshop::new();
    let data = cifar10::load(&workshop.path("data"), 0, None).unwrap();
    let write = |split_seed| {
        let mut metadata = Metadata::new();
        let source_hash = data.source_hash.clone();
        Origin {
            source_hash,
            split_seed,
        }
        .write(&mut metadata);
        let entries: Vec<(&str, &str)> = metadata
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        write_model(&workshop, &entries);
    };
    write(1);
    let output = workshop.build("a.db", &GAUSSIAN).output().unwrap();
    done(&output);
    let text = said(&output);
    let overlap = data.val_trained_on(1);
    assert!(overlap > 0);
    let expected = format!(
        "trained with --seed 1, this build has --seed 0: {overlap} of the {} val",
        data.val.len()
    );
    assert!(text.contains(&expected), "{text}");
    write(0);
    let output = workshop.build("b.db", &GAUSSIAN).output().unwrap();
    assert!(!said(&output).contains("--seed"), "{}", said(&output));
}

#[test]
fn unchanged_samples_are_counted_and_more_than_a_tenth_is_a_warning() {
    let workshop = Workshop::new();
    // Nine in ten images are misclassified by a model that was never trained: DeepFool leaves them.
    let deepfool = ["--attacks", "gaussian,deepfool"];
    let output = workshop.build("a.db", &deepfool).output().unwrap();
    done(&output);
    let text = said(&output);
    assert!(
        text.contains("warning: deepfool: ") && text.contains("equal their clean images"),
        "{text}"
    );
    assert!(!text.contains("warning: gaussian: "), "{text}");
    let info = workshop.info("a.db");
    let mut unchanged = 0;
    for row in info["summary"].as_array().unwrap() {
        let count = row["unchanged"].as_u64().unwrap();
        if row["attack"] == "deepfool" {
            assert_eq!(row["unchanged_misclassified"], count);
            unchanged += count;
        } else {
            assert_eq!(count, 0);
        }
    }
    let equal = |split| {
        let table = Store::open(&workshop.path("a.db"))
            .unwrap()
            .load(split)
            .unwrap();
        (0..table.len())
            .filter(|row| table.variant(*row, 2) == table.variant(*row, 0))
            .count() as u64
    };
    assert_eq!(unchanged, Split::ALL.map(equal).iter().sum::<u64>());
    let shown = workshop.run(&["info", "a.db"]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("unchanged"));
}

#[test]
fn one_shard_alone_is_a_warning_of_every_command_that_takes_it_for_a_store() {
    let workshop = built(&["--shard", "1/2"]);
    let commands: [&[&str]; 6] = [
        &["verify", "a.db"],
        &["export", "a.db", "--format", "npz", "--out", "a.npz"],
        &["export", "a.db", "--format", "png", "--out", "png"],
        &["preview", "a.db", "--out", "a.png"],
        &["pack", "a.db", "--out", "a.pack"],
        &["card", "a.db"],
    ];
    for args in commands {
        let output = workshop.run(args);
        done(&output);
        assert!(
            said(&output).contains("a.db: only shard 1/2 of a store"),
            "{args:?}: {}",
            said(&output)
        );
    }
    let info = workshop.run(&["info", "a.db"]);
    assert!(String::from_utf8_lossy(&info.stdout).contains("warning: only shard 1/2"));
    let card = fs::read_to_string(workshop.path("a.md")).unwrap();
    assert!(card.contains("only shard 1/2"), "{card}");
}

#[test]
fn slurms_array_is_a_shard_only_when_that_is_asked_for() {
    let workshop = Workshop::new();
    let mut build = workshop.build("a.db", &GAUSSIAN);
    for (name, value) in [("ID", "3"), ("COUNT", "4"), ("MIN", "1")] {
        build.env(format!("SLURM_ARRAY_TASK_{name}"), value);
    }
    done(&build.output().unwrap());
    assert_eq!(workshop.info("a.db")["meta"]["shard"], "1/1");
}

#[test]
fn a_split_of_one_class_fails_only_what_needs_two() {
    let workshop = Workshop::new();
    // The last tenth of the permuted images becomes val: all of one class.
    let path = workshop.path("data");
    let only_val = |label: u8| {
        let data = cifar10::load(&path, 0, None).unwrap();
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
    done(&workshop.build("a.db", &GAUSSIAN).output().unwrap());
    let words = ["images of val: found only the class triangle", "nst"];
    workshop.refuses(
        &mut workshop.build("b.db", &["--attacks", "nst"]),
        3,
        &words,
    );
}

#[test]
fn weights_and_data_of_other_tools_are_recognized() {
    let workshop = Workshop::new();
    fs::write(
        workshop.path("model.pth"),
        b"PK\x03\x04 and what torch.save writes",
    )
    .unwrap();
    let mut pth = workshop.command(&[
        "build",
        "--data",
        "data",
        "--model",
        "model.pth",
        "--out",
        "a.db",
    ]);
    workshop.refuses(
        &mut pth,
        3,
        &[
            "model.pth: found a zip archive, as torch.save writes",
            "safetensors",
        ],
    );

    let net = ResNet34::init(2, 1, &Device::Cpu).unwrap();
    let prefixed = |prefix: &str| {
        let tensors = net.weights().tensors().iter();
        let named = tensors.map(|(name, tensor)| (format!("{prefix}{name}"), tensor.clone()));
        let weights: model::Weights = named.collect();
        weights
            .write(&workshop.path("net.safetensors"), &Metadata::new())
            .unwrap();
    };
    for prefix in ["module.", "_orig_mod.", "model."] {
        prefixed(prefix);
        let words = [
            "net.safetensors: tensors: found names that begin with",
            prefix,
        ];
        workshop.refuses(&mut workshop.build("a.db", &[]), 3, &words);
    }
    prefixed("");
    fs::create_dir(workshop.path("cifar-10-batches-py")).unwrap();
    fs::write(
        workshop.path("cifar-10-batches-py/data_batch_1"),
        b"\x80\x02",
    )
    .unwrap();
    let words = ["cifar-10-batches-py: found CIFAR-10's Python version"];
    workshop.refuses(
        &mut build_from(&workshop, "cifar-10-batches-py", "a.db", &[]),
        3,
        &words,
    );
    let archive = Command::new("tar")
        .args(["-czf", "cifar-10-python.tar.gz", "cifar-10-batches-py"])
        .current_dir(workshop.path("."))
        .status();
    assert!(archive.unwrap().success());
    let words = ["cifar-10-python.tar.gz: found CIFAR-10's Python version"];
    workshop.refuses(
        &mut build_from(&workshop, "cifar-10-python.tar.gz", "a.db", &[]),
        3,
        &words,
    );
}

#[test]
fn a_folder_in_place_of_a_file_is_bad_data_on_one_line() {
    let workshop = Workshop::new();
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
        workshop.refuses(
            &mut workshop.command(args),
            3,
            &["data: found a folder, expected "],
        );
    }
}

#[test]
fn man_pages_replace_man_pages_and_nothing_else() {
    let workshop = Workshop::new();
    for _ in 0..2 {
        done(&workshop.run(&["man", "--out", "man"]));
    }
    let page = workshop.path("man/generator-build.1");
    fs::write(&page, "my own notes").unwrap();
    let words = ["generator-build.1: exists and is not a man page"];
    workshop.refuses(&mut workshop.command(&["man", "--out", "man"]), 2, &words);
    assert_eq!(fs::read_to_string(page).unwrap(), "my own notes");
    assert!(Path::new(&workshop.path("man/generator.1")).exists());
}

#[test]
fn a_fraction_in_a_file_of_attacks_is_told_what_is_expected() {
    let workshop = Workshop::new();
    fs::write(workshop.path("a.toml"), "[fgsm]\nstep = \"8/255\"\n").unwrap();
    let attacks = &mut workshop.command(&["attacks", "--attacks-config", "a.toml"]);
    workshop.refuses(
        attacks,
        3,
        &["a.toml: [fgsm] step: found \"8/255\", expected a number"],
    );
}

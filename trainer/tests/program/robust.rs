//! `trainer robust`: its files agree, do not depend on batches, threads, shards or kills, and wrong requests are
//! refused.

use std::{fs, path::Path};

use serde_json::Value;

use crate::common::TestDir;
use library_tests::{assert_success, edit};

const MODEL: [&str; 7] = [
    "robust",
    "--model",
    "model.safetensors",
    "--data",
    "data",
    "--device",
    "cpu",
];
const FEW: [&str; 12] = [
    "--attacks",
    "pgd,square",
    "--steps",
    "3",
    "--queries",
    "20",
    "--eps",
    "1/255,64/255",
    "--limit",
    "20",
    "--sanity",
    "4",
];

fn robust(dir: &TestDir, out: &str, more: &[&str]) -> std::process::Output {
    dir.run(&[&MODEL[..], &FEW[..], &["--out", out], more].concat())
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

fn json(dir: &TestDir, out: &str) -> Value {
    serde_json::from_str(&read(&dir.path(&format!("{out}/robust.json")))).unwrap()
}

/// The lines of a CSV file after its header, split.
fn rows(text: &str) -> Vec<Vec<&str>> {
    text.lines()
        .skip(1)
        .map(|line| line.split(',').collect())
        .collect()
}

#[test]
fn robust_json_and_images_csv_agree_and_accuracy_falls_from_attack_to_attack() {
    let dir = TestDir::new();
    assert_success(&robust(&dir, "a", &[]));
    let (result, csv) = (json(&dir, "a"), read(&dir.path("a/images.csv")));
    let header = "split,source_index,label,clean_pred,eps,pgd,square,robust";
    assert_eq!(csv.lines().next(), Some(header));
    let rows = rows(&csv);
    assert_eq!((rows.len(), &result["images"]), (40, &Value::from(20)));
    let share = |count: usize| count as f64 / 20.0;
    let correct = rows
        .iter()
        .filter(|row| row[2] == row[3] && row[4].starts_with("0.003"))
        .count();
    assert_eq!(result["clean"], share(correct));
    for (budget, eps) in result["results"]
        .as_array()
        .unwrap()
        .iter()
        .zip([1.0, 64.0])
    {
        assert_eq!(budget["eps"], eps / 255.0);
        let of = |column: usize| {
            let rows = rows
                .iter()
                .filter(|row| row[4] == (eps / 255.0).to_string());
            share(rows.filter(|row| row[column] == "1").count())
        };
        assert_eq!(budget["attacks"]["pgd"], of(5));
        assert_eq!(budget["attacks"]["square"], of(6));
        assert_eq!(budget["robust"], of(7));
        assert!(of(7) == of(6) && of(6) <= of(5) && of(5) <= share(correct));
        let interval = budget["interval"].as_array().unwrap();
        assert!(interval[0].as_f64() <= Some(of(7)) && Some(of(7)) <= interval[1].as_f64());
    }
    // The attacks do something: this model is not robust.
    assert!(result["results"][1]["robust"].as_f64() < result["clean"].as_f64());
    assert!(result["sanity"].as_array().unwrap().len() > 5);
    assert_eq!(result["detector"], Value::Null);
    let again = robust(&dir, "a", &["--json"]);
    assert_success(&again);
    assert_eq!(
        serde_json::from_slice::<Value>(&again.stdout).unwrap(),
        result
    );
}

#[test]
fn a_robust_evaluation_depends_neither_on_batches_nor_threads_nor_shards_nor_the_kind_of_source() {
    let dir = TestDir::new();
    assert_success(&robust(&dir, "whole", &[]));
    let files = |out: &str| {
        let read = |name: &str| read(&dir.path(&format!("{out}/{name}")));
        (read("images.csv"), read("robust.json"))
    };
    let whole = files("whole");
    assert_success(&robust(&dir, "batches", &["--batch-size", "5"]));
    assert_eq!(files("batches"), whole);
    let mut one_thread = dir.command(&[&MODEL[..], &FEW[..], &["--out", "thread"]].concat());
    assert_success(&one_thread.env("RAYON_NUM_THREADS", "1").output().unwrap());
    assert_eq!(files("thread"), whole);
    for shard in ["2/3", "1/3", "3/3"] {
        assert!(!dir.path("shards/robust.json").exists());
        assert_success(&robust(&dir, "shards", &["--shard", shard]));
    }
    assert_eq!(files("shards"), whole);
    let store = [
        "robust",
        "--model",
        "model.safetensors",
        "--db",
        "a.db",
        "--device",
        "cpu",
        "--out",
        "store",
    ];
    assert_success(&dir.run(&[&store[..], &FEW[..]].concat()));
    assert_eq!(files("store"), whole);
}

#[test]
fn a_robust_evaluation_goes_on_after_a_kill() {
    let dir = TestDir::new();
    assert_success(&robust(&dir, "whole", &[]));
    let whole = read(&dir.path("whole/images.csv"));
    // As a kill leaves it: some rows, the last one cut short, and no result.
    fs::create_dir_all(dir.path("part/parts")).unwrap();
    fs::copy(
        dir.path("whole/settings.json"),
        dir.path("part/settings.json"),
    )
    .unwrap();
    let table = dir.path("part/parts/images-1-of-1.csv");
    fs::write(&table, &whole[..whole.len() / 2]).unwrap();
    assert_success(&robust(&dir, "part", &["--batch-size", "3"]));
    assert_eq!(read(&dir.path("part/images.csv")), whole);
    assert_eq!(json(&dir, "part"), json(&dir, "whole"));

    fs::remove_file(dir.path("part/robust.json")).unwrap();
    edit(&table, |bytes| bytes[whole.len() / 2] = b'x');
    let refused = robust(&dir, "part", &[]);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(error.contains("images-1-of-1.csv, line "), "{error}");
}

#[test]
fn a_detector_is_attacked_with_its_classifier_and_one_of_another_model_is_refused() {
    let dir = TestDir::new();
    assert_success(&dir.joint("run", &[]).output().unwrap());
    let command = [
        "robust",
        "--model",
        "run/best.safetensors",
        "--data",
        "data",
        "--device",
        "cpu",
        "--attacks",
        "pgd",
        "--steps",
        "3",
        "--limit",
        "6",
        "--sanity",
        "3",
    ];
    assert_success(&dir.run(&command));
    let result = json(&dir, "run/robust");
    let csv = read(&dir.path("run/robust/detector.csv"));
    let header = "split,source_index,label,clean_pred,clean_score,eps,classifier-only,joint-loss,selective-pgd,\
                  orthogonal-pgd,feature-matching";
    assert_eq!(csv.lines().next(), Some(header));
    // Its scores, and so all of the result, do not depend on the batch size.
    for (size, out) in [("1", "one"), ("4", "four")] {
        let batches = ["--batch-size", size, "--out", out];
        assert_success(&dir.run(&[&command[..], &batches].concat()));
        assert_eq!(read(&dir.path(&format!("{out}/detector.csv"))), csv);
        assert_eq!(json(&dir, out), result);
    }
    // A single image: its guide is one of the others of the split.
    let limited = command.map(|part| if part == "6" { "1" } else { part });
    assert_success(&dir.run(&[&limited[..], &["--out", "limited"]].concat()));
    let defense = &result["detector"];
    for (index, threshold) in defense["thresholds"].as_array().unwrap().iter().enumerate() {
        let limit = threshold["threshold"].as_f64().unwrap();
        let accepted = |text: &str| text.parse::<f64>().is_ok_and(|score| score <= limit);
        let fooled = |row: &&Vec<&str>| {
            (row[2] != row[3] && accepted(row[4])) || row[6..].iter().any(|score| accepted(score))
        };
        let count = rows(&csv).iter().filter(fooled).count();
        let budget = &defense["results"][0];
        assert_eq!(budget["any"][index], count as f64 / 6.0);
        assert_eq!(budget["robust"][index], (6 - count) as f64 / 6.0);
    }
    let other = ["--pretrained", "run/best.safetensors", "--out", "b"];
    let words = ["detector.safetensors: found a detector of the pretrained model "];
    dir.assert_refused(
        &mut dir.command(&[&command[..], &other].concat()),
        3,
        &words,
    );
    let alone = ["--without-detector", "--out", "c"];
    assert_success(&dir.run(&[&command[..], &alone].concat()));
    assert_eq!(json(&dir, "c")["detector"], Value::Null);
}

#[test]
fn wrong_requests_of_a_robust_evaluation_are_one_line() {
    let dir = TestDir::new();
    let refused = |more: &[&str], code: i32, words: &[&str]| {
        dir.assert_refused(&mut dir.command(&[&MODEL[..], more].concat()), code, words);
    };
    for eps in ["0", "-1/255", "8/0", "x", "1/255,", ""] {
        refused(&["--eps", eps], 2, &["--eps", "is expected"]);
    }
    refused(&["--eps", "1/255,1/255"], 2, &["twice"]);
    refused(
        &["--attacks", "pgd,deepfool"],
        2,
        &["'deepfool' is none of autoattack, pgd"],
    );
    refused(&["--norm", "l1"], 2, &["--norm"]);
    refused(&["--limit", "0"], 2, &["--limit"]);
    refused(
        &["--limit", "21"],
        2,
        &["found 20 images in test, expected at least 21"],
    );
    refused(&["--split", "train"], 2, &["val or test"]);
    refused(&["--shard", "3/2"], 2, &["--shard"]);
    refused(&["--db", "a.db"], 2, &["--d"]);
    refused(&["--precision", "bf16"], 2, &["--precision bf16"]);
    for (attack, option, value) in [
        ("square", "--steps", "3"),
        ("square", "--restarts", "3"),
        ("pgd", "--queries", "3"),
        ("pgd", "--pretrained", "gone.safetensors"),
    ] {
        let words = [option, "no meaning without"];
        refused(&["--attacks", attack, option, value], 2, &words);
    }
    refused(
        &["--detector", "model.safetensors"],
        3,
        &["model.safetensors"],
    );
    fs::create_dir(dir.path("thesis")).unwrap();
    fs::write(dir.path("thesis/thesis.tex"), "").unwrap();
    let words = ["not an evaluation of robustness"];
    refused(&["--out", "thesis", "--force"], 2, &words);
    refused(&["--out", "data"], 2, &["is the input data"]);

    assert_success(&robust(&dir, "a", &[]));
    let words = ["a: holds another evaluation (--seed differs)", "--force"];
    let seed = [&MODEL[..], &FEW[..], &["--out", "a", "--seed", "1"]].concat();
    dir.assert_refused(&mut dir.command(&seed), 2, &words);
    assert_success(&robust(&dir, "a", &["--seed", "1", "--force"]));
    assert_eq!(json(&dir, "a")["seed"], 1);
}

//! What a command must not replace: inputs, files of another kind, a user's lock file.

use std::{fs, os::unix::fs::symlink, process::Command};

use super::{GAUSSIAN, built, stderr};
use crate::common::TestDir;
use library_tests::assert_success;

#[test]
fn an_output_that_is_an_input_is_refused_by_every_command_even_through_links() {
    let dir = built(&[]);
    assert_success(&dir.run(&["pack", "a.db", "--out", "a.pack"]));
    fs::hard_link(dir.path("a.db"), dir.path("hard")).unwrap();
    symlink(dir.path("a.db"), dir.path("soft")).unwrap();
    let assert_refused = |args: &[&str], out: &str| {
        let command = &mut dir.command(&[args, &["--out", out, "--force"]].concat());
        dir.assert_refused(command, 2, &[out, "is the input"]);
    };
    for out in ["a.db", "./a.db", "../a.db", "hard", "soft"] {
        let out = &out.replace("../", &format!("../{}/", folder_name(&dir)));
        for format in ["npz", "png", "webdataset"] {
            assert_refused(&["export", "a.db", "--format", format], out);
        }
        assert_refused(&["preview", "a.db"], out);
        assert_refused(&["pack", "a.db"], out);
        assert_refused(&["merge", "a.db"], out);
    }
    assert_refused(&["unpack", "a.pack"], "a.pack");
    let build = ["build", "--data", "data", "--model", "model.safetensors"];
    assert_refused(&build, "model.safetensors");
    assert_refused(&build, "data");
    // A card is written beside the store, under other endings: here under its own name.
    fs::remove_file(dir.path("soft")).unwrap();
    fs::rename(dir.path("a.db"), dir.path("a.md")).unwrap();
    let card = &mut dir.command(&["card", "a.md", "--force"]);
    dir.assert_refused(card, 2, &["a.md: is the input a.md"]);
}

fn folder_name(dir: &TestDir) -> String {
    let folder = dir.path(".").canonicalize().unwrap();
    folder.file_name().unwrap().to_str().unwrap().to_string()
}

#[test]
fn force_replaces_no_file_of_another_kind() {
    let dir = built(&[]);
    assert_success(&dir.run(&["pack", "a.db", "--out", "a.pack"]));
    fs::create_dir(dir.path("folder")).unwrap();
    for name in ["thesis.tex", "folder/thesis.tex"] {
        fs::write(dir.path(name), "years of work").unwrap();
    }
    let made = Command::new("mkfifo").arg(dir.path("pipe")).status();
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
            let command = dir.command(&[args, &["--out", out, "--force"]].concat());
            let output = { command }.output().unwrap();
            let code = output.status.code();
            let text = stderr(&output);
            // Of a file that is no store it is told what it is.
            assert!(code == Some(2) || code == Some(3), "{args:?} {out}: {text}");
            assert!(
                text.contains(out.trim_start_matches('/')),
                "{args:?}: {text}"
            );
        }
    }
    for name in ["thesis.tex", "folder/thesis.tex"] {
        let kept = fs::read_to_string(dir.path(name)).unwrap();
        assert_eq!(kept, "years of work");
    }
    // Whoever looks at all files would wait for it.
    fs::remove_file(dir.path("pipe")).unwrap();
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
        if !dir.path(out).exists() {
            assert_success(&dir.run(&command));
        }
        dir.assert_refused(&mut dir.command(&command), 2, &[out, "exists", "--force"]);
        assert_success(&dir.run(&[&command[..], &["--force"]].concat()));
    }
}

#[test]
fn a_lock_file_of_the_users_own_is_not_removed() {
    let dir = TestDir::new();
    fs::write(dir.path("Cargo.lock"), "version = 4\n").unwrap();
    let expected = ["Cargo.lock: found a file that is no lock", "another output"];
    dir.assert_refused(&mut dir.build("Cargo", &GAUSSIAN), 2, &expected);
}

#[test]
fn man_pages_replace_man_pages_and_nothing_else() {
    let dir = TestDir::new();
    for _ in 0..2 {
        assert_success(&dir.run(&["man", "--out", "man"]));
    }
    let page = dir.path("man/generator-build.1");
    fs::write(&page, "my own notes").unwrap();
    let words = ["generator-build.1: exists and is not a man page"];
    dir.assert_refused(&mut dir.command(&["man", "--out", "man"]), 2, &words);
    assert_eq!(fs::read_to_string(page).unwrap(), "my own notes");
    assert!(dir.path("man/generator.1").exists());
    let onto = &mut dir.command(&["man", "--out", "model.safetensors"]);
    dir.assert_refused(onto, 2, &["model.safetensors: is a file, where a folder"]);
}

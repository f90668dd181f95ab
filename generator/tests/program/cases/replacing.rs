//! What a command must not replace: inputs, files of another kind, a user's lock file.

use std::{fs, os::unix::fs::symlink, process::Command};

use super::{GAUSSIAN, built, said};
use crate::{common::Workshop, programs::done};

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
    assert!(workshop.path("man/generator.1").exists());
    let onto = &mut workshop.command(&["man", "--out", "net.safetensors"]);
    workshop.refuses(onto, 2, &["net.safetensors: is a file, where a folder"]);
}

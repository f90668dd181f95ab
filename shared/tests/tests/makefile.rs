//! Variables of the Makefile: from the command line or the environment, with `~` in any shell.

use std::process::Command;

/// What `make TARGET` would run with these arguments and variables.
fn planned(target: &str, arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let output = Command::new("make")
        .args(["--no-print-directory", "-n", target])
        .args(arguments)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        // What the make or the shell that runs this test has.
        .env_remove("MAKEFLAGS")
        .env_remove("DATA")
        .env_remove("SEED")
        .env("HOME", "/home/alice")
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_tilde_in_a_make_variable_is_the_home_folder_in_any_shell() {
    // As a shell other than bash hands it over.
    for (arguments, environment) in [
        (&["DATA=~/my images"][..], &[][..]),
        (&[], &[("DATA", "~/my images")]),
    ] {
        let plan = planned("baseline", arguments, environment);
        assert!(plan.contains("--data '/home/alice/my images'"), "{plan}");
        assert!(
            !plan.contains("get-cifar10"),
            "nothing is downloaded: {plan}"
        );
    }
}

#[test]
fn make_variables_come_from_the_environment_and_the_command_line_overrides_it() {
    let environment = [("DATA", "there"), ("SEED", "7")];
    let plan = planned("baseline", &[], &environment);
    assert!(
        plan.contains("--data 'there'") && plan.contains("--seed 7"),
        "{plan}"
    );
    let plan = planned("baseline", &["SEED=8"], &environment);
    assert!(plan.contains("--seed 8"), "{plan}");
    // Without it the official archive is fetched.
    assert!(planned("baseline", &[], &[]).contains("scripts/get-cifar10"));
}

#[test]
fn a_recipe_of_make_is_a_file_and_what_is_not_set_is_left_to_it() {
    let plan = planned("train", &["RECIPE=strong"], &[]);
    assert!(plan.contains("--config 'recipes/strong.toml'"), "{plan}");
    for option in ["--epochs", "--batch-size", "--adv-ratio"] {
        assert!(!plan.contains(option), "{plan}");
    }
    // A path is taken as it is.
    let plan = planned("baseline", &["RECIPE=recipes/paper.toml", "EPOCHS=7"], &[]);
    assert!(
        plan.contains("--config 'recipes/paper.toml'") && plan.contains("--epochs 7"),
        "{plan}"
    );
}

#[test]
fn make_rounds_and_tables_hand_their_settings_to_the_scripts() {
    let plan = planned("rounds", &["ROUNDS=2", "REFRESH=3", "LIMIT=100"], &[]);
    for part in [
        "trainer' pretrain",
        "ROUNDS=2",
        "REFRESH=3",
        "--limit 100",
        "scripts/rounds",
    ] {
        assert!(plan.contains(part), "no {part} in {plan}");
    }
    let plan = planned("table3", &["SEEDS=4 5", "WIDTH=8"], &[]);
    for part in ["SEEDS='4 5'", "WIDTH=8", "scripts/tables 3"] {
        assert!(plan.contains(part), "no {part} in {plan}");
    }
}

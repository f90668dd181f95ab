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

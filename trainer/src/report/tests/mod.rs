//! Reports of small deterministic run folders: all sections, escaping, self-containedness, replacing.

use std::fs;

use super::*;
use fixtures::{TestRuns, config, line, strips};

mod fixtures;
mod measurements;

#[test]
fn a_report_has_every_section_escapes_its_text_and_is_self_contained() {
    let runs = TestRuns::new();
    let folders = [
        runs.evaluated("adversarial", &config("adversarial", 40), 40, false, 0.0),
        runs.evaluated("<script>joint & co", &config("joint", 40), 40, true, 0.021),
        runs.run("fresh", &config("joint", 40), 12, true),
    ];
    let page = runs.page(&folders, Some(&strips()));
    for id in [
        "runs",
        "robustness",
        "attacks",
        "mixed",
        "detector",
        "distance",
        "classes",
        "run-1",
        "run-2",
        "run-3",
        "images",
    ] {
        assert_eq!(
            page.matches(&format!("<section id=\"{id}\">")).count(),
            1,
            "{id}"
        );
        assert_eq!(page.matches(&format!("href=\"#{id}\"")).count(), 1, "{id}");
    }
    // Per run: losses, accuracies, accuracy by attack, probabilities.
    assert_eq!(page.matches("<svg").count(), 3 * 4);
    assert!(
        page.contains("<html lang=\"en\">") && page.contains("<title>Mithridate: adversarial,")
    );

    // Strings from files are text.
    assert!(!page.contains("<script") && !page.contains("<horse>"));
    assert!(page.contains("&lt;script&gt;joint &amp; co"));
    assert!(page.contains("&lt;/td&gt;&lt;script&gt;alert(1)"));

    // Nothing is loaded from anywhere.
    assert!(!page.contains("http:") && !page.contains("https:") && !page.contains("@import"));
    assert!(!page.contains("url(") && !page.contains("<link"));
    assert_eq!(
        page.matches("src=\"").count(),
        page.matches("src=\"data:image/png;base64,").count()
    );
    assert_eq!(page.matches("<img").count(), 2);

    // The evaluated runs' values, the baseline once per table and the paper's rows.
    assert_eq!(
        page.matches("<th scope=\"row\">Baseline<small>resnet34, 01234567")
            .count(),
        3
    );
    assert!(page.contains("<td>86.0</td><td>82.0</td><td>75.0</td>"));
    assert!(page.contains("<td>88.1</td><td><strong>84.1</strong></td>"));
    assert!(
        page.contains("<td><strong>91.0</strong></td>"),
        "the baseline is best on clean images"
    );
    assert!(page.contains("<td>89.2</td><td>85.4</td><td>78.3</td><td>83.0</td><td>88.8</td>"));
    assert!(page.contains("<td>75.1</td><td>0.821</td>"));
    // The run that is still going.
    assert!(page.contains("unfinished, 12 of 40 epochs"));
    assert!(page.contains("fresh is unfinished and has no report.json yet"));
    assert!(page.contains("✗ airplane") && page.contains("bounds.fgsm"));

    // Set the variable to a path to look at the report.
    if let Some(kept) = std::env::var_os("MITHRIDATE_KEEP_REPORT") {
        fs::write(kept, page).unwrap();
    }
}

#[test]
fn the_contact_sheet_of_the_report_decodes_to_its_images() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let runs = TestRuns::new();
    let strips = strips();
    let page = runs.page(&[runs.run("a", "", 1, false)], Some(&strips));
    let encoded = page
        .split("base64,")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let image = image::load_from_memory(&STANDARD.decode(encoded).unwrap())
        .unwrap()
        .to_rgb8();
    assert_eq!(image.dimensions(), (7 * 34 * 2, 2 * 34 * 2));
    let clean = &strips[0].clean.pixels;
    assert_eq!(
        image.get_pixel(2, 2).0,
        [clean[0], clean[1024], clean[2048]]
    );
}

#[test]
fn a_run_before_its_first_epoch_has_a_report() {
    let runs = TestRuns::new();
    let page = runs.page(&[runs.run("new", &config("joint", 5), 0, true)], None);
    assert!(page.contains("unfinished, 0 of 5 epochs") && page.contains("No epoch is done yet"));
    assert!(
        page.contains("No run has been evaluated yet") && page.contains("No store was at hand")
    );
    assert_eq!(
        database(&runs.path("new")).unwrap(),
        Some(PathBuf::from("store.sqlite"))
    );
}

#[test]
fn runs_of_the_same_name_are_named_by_their_paths() {
    let runs = TestRuns::new();
    let folders = ["a/run", "b/run"].map(|name| runs.run(name, "", 1, false));
    let page = runs.page(&folders, None);
    for folder in folders {
        assert!(page.contains(&format!("<h2>{}</h2>", folder.display())));
    }
}

#[test]
fn a_damaged_run_folder_is_reported_by_file_and_line() {
    let cases = [
        (
            "config.toml",
            "method = \"joint\"\nepochs 3\n",
            "config.toml:2: ",
        ),
        (
            "metrics.jsonl",
            &(line(1, true) + "{\"epoch\": 2,\n"),
            "metrics.jsonl:2: ",
        ),
        ("report.json", "{\n\"model\": 3}", "report.json:2: "),
    ];
    for (file, text, place) in cases {
        let runs = TestRuns::new();
        let folder = runs.evaluated("run", &config("joint", 3), 3, true, 0.0);
        fs::write(folder.join(file), text).unwrap();
        let error = write(&[folder], None, &runs.path("report.html"), false).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        assert!(error.to_string().contains(place), "{error}");
        assert!(!runs.path("report.html").exists());
    }
    let runs = TestRuns::new();
    let error = write(&[runs.path("absent")], None, &runs.path("out"), false).unwrap_err();
    assert_eq!(error.exit_code(), 3);
    assert!(error.to_string().contains("absent"), "{error}");
}

#[test]
fn only_a_report_is_replaced_without_force() {
    let runs = TestRuns::new();
    let folder = [runs.run("run", "", 1, false)];
    let out = runs.path("report.html");
    write(&folder, None, &out, false).unwrap();
    write(&folder, None, &out, false).unwrap();

    let other = runs.path("thesis.html");
    fs::write(&other, "<html>three years of work</html>").unwrap();
    assert_eq!(
        write(&folder, None, &other, false).unwrap_err().exit_code(),
        2
    );
    assert!(fs::read_to_string(&other).unwrap().contains("three years"));
    write(&folder, None, &other, true).unwrap();
    assert!(
        fs::read_to_string(&other)
            .unwrap()
            .contains(page::GENERATOR)
    );

    for force in [false, true] {
        assert_eq!(
            write(&folder, None, &runs.path(""), force)
                .unwrap_err()
                .exit_code(),
            2
        );
    }
}

#[test]
fn robustness_under_attack_stands_beside_transfer_with_its_curve_and_failed_checks() {
    let runs = TestRuns::new();
    let folder = runs.evaluated("joint", &config("joint", 40), 40, true, 0.0);
    assert!(
        runs.page(std::slice::from_ref(&folder), None)
            .contains("No run was attacked itself")
    );
    fs::create_dir(folder.join("robust")).unwrap();
    let budget = |eps: f64, robust: f64| {
        format!(
            r#"{{"eps":{eps},"attacks":{{"apgd-ce":0.3125,"square":{robust}}},"robust":{robust},"interval":[0.1,0.2]}}"#
        )
    };
    let defended = r#"{"eps":0.01,"success":{"joint-loss":[0.9,0.8]},"any":[0.91,0.81],"robust":[0.0917,0.1917],"interval":[[0,1],[0,1]]}"#;
    let robustness = format!(
        r#"{{"model":{{"name":"resnet34","method":"joint","width":64,"epoch":35}},"model_sha256":"01","norm":"linf","split":"test","images":1000,"seed":0,"changed":{{"steps":2}},"clean":0.8613,"results":[{},{}],"detector":{{"thresholds":[],"results":[{defended}]}},"sanity":[{{"name":"a check","ok":true,"value":0,"limit":0,"meaning":"m"}},{{"name":"gradients","ok":false,"value":0.5,"limit":0.25,"meaning":"masked <b>"}}]}}"#,
        budget(1.0 / 255.0, 0.1518),
        budget(8.0 / 255.0, 0.0119),
    );
    fs::write(folder.join("robust/robust.json"), robustness).unwrap();
    let page = runs.page(std::slice::from_ref(&folder), None);
    for text in [
        "APGD-CE",
        "Square",
        "<td>86.1</td>",
        "15.2",
        "1.2",
        "9.2",
        "19.2",
        "linf 8/255, 1000 images of test, 2 steps",
        "Robust accuracy in percent against the budget",
        "1 of 2 sanity checks",
        "masked &lt;b&gt;",
    ] {
        assert!(page.contains(text), "{text}");
    }
    // Of two budgets, none is the best.
    assert!(!page.contains("<strong>15.2"));
    // Weights of another training.
    fs::write(folder.join("best.safetensors"), "weights").unwrap();
    let page = runs.page(std::slice::from_ref(&folder), None);
    assert!(page.contains("No run was attacked itself"));
    fs::write(folder.join("robust/robust.json"), "{}").unwrap();
    let error = RunRecord::read(&folder).err().unwrap();
    assert_eq!(error.exit_code(), 3);
}

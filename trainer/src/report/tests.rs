//! The page of small made run folders: every section is there, nothing foreign gets in.

use std::fs;

use super::*;

const ATTACKS: [&str; 6] = ["gaussian", "fgsm", "bim", "deepfool", "cw", "nst"];

/// A metrics line whose numbers move with the epoch.
fn line(epoch: u32, joint: bool) -> String {
    let t = f64::from(epoch);
    let rise = |from: f64, to: f64| to - (to - from) * (-t / 8.0).exp();
    let named = |value: &dyn Fn(f64) -> f64| {
        let pairs = (0..)
            .zip(ATTACKS)
            .map(|(i, name)| format!("\"{name}\":{}", value(f64::from(i))));
        pairs.collect::<Vec<_>>().join(",")
    };
    let weights: Vec<f64> = (0..6)
        .map(|i| 1.2 + (t * 1.7 + f64::from(i) * 2.1).sin())
        .collect();
    let sum: f64 = weights.iter().sum();
    let optional = |value: f64| {
        if joint {
            value.to_string()
        } else {
            "null".into()
        }
    };
    let detector = if joint {
        format!(
            "{{\"accuracy\":{},\"auc\":{}}}",
            rise(0.5, 0.75),
            rise(0.5, 0.83)
        )
    } else {
        "null".into()
    };
    format!(
        "{{\"epoch\":{epoch},\"seconds\":{},\"images_per_s\":{},\"lr\":0.01,\"train\":{{\"loss\":{},\
         \"accuracy\":{},\"cross_entropy\":{},\"smooth_l1\":{},\"detector_loss\":{},\
         \"detector_accuracy\":{}}},\"mixture\":{{\"share\":{},\"probabilities\":{{{}}},\
         \"drawn\":{{\"clean\":500,{}}}}},\"val\":{{\"clean\":{},\"attacks\":{{{}}},\"mixed\":{},\
         \"detector\":{detector}}},\"best\":{}}}\n",
        20.0 + (t * 3.0).sin(),
        2100.0 + (t * 5.0).cos() * 30.0,
        0.3 + 2.0 * (-t / 9.0).exp(),
        rise(0.2, 0.93),
        0.25 + 1.9 * (-t / 9.0).exp(),
        optional(0.05 + 0.1 * (-t / 20.0).exp()),
        optional(0.5 + 0.2 * (-t / 10.0).exp()),
        optional(rise(0.5, 0.78)),
        0.5 + 0.1 * (t * 0.9).sin(),
        named(&|i| weights[i as usize] / sum),
        named(&|i| 80.0 + i),
        rise(0.25, 0.90) + 0.01 * (t * 2.3).sin(),
        named(&|i| rise(0.2, 0.86 - 0.02 * i) + 0.012 * (t * 1.9 + i).sin()),
        rise(0.22, 0.87) + 0.008 * (t * 1.3).sin(),
        epoch % 7 == 0,
    )
}

fn evaluation(joint: bool, lift: f64) -> String {
    let detector = if joint {
        r#"{"accuracy":0.7512,"auc":0.8213}"#
    } else {
        "null"
    };
    let split = |split: &str, images: u32, less: f64| {
        let accuracy = |a: f64| a + lift - less;
        format!(
            r#"{{"split":"{split}","images":{images},"clean":{},"attacks":{{"gaussian":{},"fgsm":{},"bim":{},"deepfool":{},"cw":{},"nst":{}}},"mixed":{{"share":0.5,"accuracy":{}}},"detector":{detector},"baseline":{{"clean":0.9105,"attacks":{{"gaussian":0.66,"fgsm":0.3,"bim":0.17,"deepfool":0.05,"cw":0.1,"nst":0.6}},"mixed":0.6512}}}}"#,
            accuracy(0.86),
            accuracy(0.82),
            accuracy(0.75),
            accuracy(0.79),
            accuracy(0.861),
            accuracy(0.77),
            accuracy(0.83),
            accuracy(0.846)
        )
    };
    let method = if joint { "joint" } else { "adversarial" };
    format!(
        r#"{{"model":{{"name":"resnet34","method":"{method}","width":64,"epoch":35}},"surrogate":{{"name":"resnet34","sha256":"0123456789abcdef"}},"splits":[{},{}]}}"#,
        split("val", 5000, 0.0),
        split("test", 10000, 0.006)
    )
}

/// A folder of runs that is deleted with its value.
struct Runs(tempfile::TempDir);

impl Runs {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, name: &str, config: &str, epochs: u32, joint: bool) -> PathBuf {
        let folder = self.path(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("config.toml"), config).unwrap();
        let lines: String = (1..=epochs).map(|epoch| line(epoch, joint)).collect();
        if epochs > 0 {
            fs::write(folder.join("metrics.jsonl"), lines).unwrap();
        }
        folder
    }

    fn evaluated(&self, name: &str, config: &str, epochs: u32, joint: bool, lift: f64) -> PathBuf {
        let folder = self.run(name, config, epochs, joint);
        fs::write(folder.join("report.json"), evaluation(joint, lift)).unwrap();
        folder
    }

    /// Writes the page and returns it.
    fn page(&self, runs: &[PathBuf], strips: Option<&[PictureStrip]>) -> String {
        let out = self.path("report.html");
        write(runs, strips, &out, false).unwrap();
        fs::read_to_string(out).unwrap()
    }
}

fn config(method: &str, epochs: u32) -> String {
    format!(
        "method = \"{method}\"\nseed = 7\nepochs = {epochs}\ndb = \"store.sqlite\"\nlr = 0.01\n\
         adv_ratio = [0.4, 0.6]\nnote = \"</td><script>alert(1)</script>\"\n\
         [bounds]\nfgsm = [0.05, 0.3]\n"
    )
}

fn strips() -> Vec<PictureStrip> {
    let picture = |k: usize| -> Vec<u8> {
        (0..3072)
            .map(|i| {
                let (c, y, x) = (i / 1024, i / 32 % 32, i % 32);
                let wave = 128.0
                    + 90.0 * ((x + k) as f64 / (5.0 + c as f64)).sin() * (y as f64 / 7.0).cos();
                wave as u8
            })
            .collect()
    };
    let noisy = |clean: &[u8], k: usize| -> Vec<u8> {
        let change = |i: usize| ((i * (31 + k) + i * i % 17) % (2 + 3 * k)) as i16 - (k as i16);
        (clean.iter().enumerate())
            .map(|(i, &b)| (i16::from(b) + change(i)).clamp(0, 255) as u8)
            .collect()
    };
    let strip = |k: usize, class: &str| {
        let clean = picture(k);
        let variants = (1..).zip(ATTACKS).map(|(i, attack)| {
            let prediction = if i % 3 == 0 { class } else { "airplane" };
            let pixels = noisy(&clean, i);
            (
                attack.to_string(),
                Shown {
                    pixels,
                    prediction: prediction.into(),
                },
            )
        });
        let variants = variants.collect();
        let clean = Shown {
            pixels: clean,
            prediction: class.into(),
        };
        PictureStrip {
            caption: format!("test {k}"),
            class: class.into(),
            clean,
            variants,
        }
    };
    vec![strip(17, "frog"), strip(90, "<horse>")]
}

#[test]
fn a_page_has_every_section_and_needs_nothing_else() {
    let runs = Runs::new();
    let folders = [
        runs.evaluated("adversarial", &config("adversarial", 40), 40, false, 0.0),
        runs.evaluated("<script>joint & co", &config("joint", 40), 40, true, 0.021),
        runs.run("fresh", &config("joint", 40), 12, true),
    ];
    let page = runs.page(&folders, Some(&strips()));
    for id in [
        "runs", "attacks", "mixed", "detector", "run-1", "run-2", "run-3", "pictures",
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
        "the baseline is best on clean pictures"
    );
    assert!(page.contains("<td>89.2</td><td>85.4</td><td>78.3</td><td>83.0</td><td>88.8</td>"));
    assert!(page.contains("<td>75.1</td><td>0.821</td>"));
    // The run that is still going.
    assert!(page.contains("unfinished: 12 of 40 epochs"));
    assert!(page.contains("fresh is unfinished and has no report.json yet"));
    assert!(page.contains("✗ airplane") && page.contains("bounds.fgsm"));

    if let Some(kept) = std::env::var_os("MITHRIDATE_KEEP_REPORT") {
        fs::write(kept, page).unwrap();
    }
}

#[test]
fn the_contact_sheet_of_the_page_decodes_to_its_pictures() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let runs = Runs::new();
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
fn a_run_before_its_first_epoch_has_a_page() {
    let runs = Runs::new();
    let page = runs.page(&[runs.run("new", &config("joint", 5), 0, true)], None);
    assert!(page.contains("unfinished: 0 of 5 epochs") && page.contains("No epoch is done yet"));
    assert!(
        page.contains("No run has been evaluated yet") && page.contains("No store was at hand")
    );
    assert_eq!(
        database(&runs.path("new")).unwrap(),
        Some(PathBuf::from("store.sqlite"))
    );
}

#[test]
fn runs_of_one_name_are_told_apart() {
    let runs = Runs::new();
    let folders = ["a/run", "b/run"].map(|name| runs.run(name, "", 1, false));
    let page = runs.page(&folders, None);
    for folder in folders {
        assert!(page.contains(&format!("<h2>{}</h2>", folder.display())));
    }
}

#[test]
fn what_is_wrong_in_a_run_folder_is_named_by_file_and_line() {
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
        let runs = Runs::new();
        let folder = runs.evaluated("run", &config("joint", 3), 3, true, 0.0);
        fs::write(folder.join(file), text).unwrap();
        let error = write(&[folder], None, &runs.path("report.html"), false).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        assert!(error.to_string().contains(place), "{error}");
        assert!(!runs.path("report.html").exists());
    }
    let runs = Runs::new();
    let error = write(&[runs.path("absent")], None, &runs.path("out"), false).unwrap_err();
    assert_eq!(error.exit_code(), 3);
    assert!(error.to_string().contains("absent"), "{error}");
}

#[test]
fn only_its_own_report_is_replaced() {
    let runs = Runs::new();
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
            write(&folder, None, runs.0.path(), force)
                .unwrap_err()
                .exit_code(),
            2
        );
    }
}

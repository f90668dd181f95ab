//! Deterministic run folders and images for tests.

use std::{fs, path::PathBuf};

use crate::report::{ClassifiedImage, ImageStrip, write};

const ATTACKS: [&str; 6] = ["gaussian", "fgsm", "bim", "deepfool", "cw", "nst"];

/// A metrics line whose numbers move with the epoch.
pub fn line(epoch: u32, joint: bool) -> String {
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
        epoch.is_multiple_of(7),
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
pub struct TestRuns(tempfile::TempDir);

impl TestRuns {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn run(&self, name: &str, config: &str, epochs: u32, joint: bool) -> PathBuf {
        let folder = self.path(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("config.toml"), config).unwrap();
        let lines: String = (1..=epochs).map(|epoch| line(epoch, joint)).collect();
        if epochs > 0 {
            fs::write(folder.join("metrics.jsonl"), lines).unwrap();
        }
        folder
    }

    pub fn evaluated(
        &self,
        name: &str,
        config: &str,
        epochs: u32,
        joint: bool,
        lift: f64,
    ) -> PathBuf {
        let folder = self.run(name, config, epochs, joint);
        fs::write(folder.join("report.json"), evaluation(joint, lift)).unwrap();
        folder
    }

    /// Writes the page and returns it.
    pub fn page(&self, runs: &[PathBuf], strips: Option<&[ImageStrip]>) -> String {
        let out = self.path("report.html");
        write(runs, strips, &out, false).unwrap();
        fs::read_to_string(out).unwrap()
    }
}

pub fn config(method: &str, epochs: u32) -> String {
    format!(
        "method = \"{method}\"\nseed = 7\nepochs = {epochs}\ndb = \"store.sqlite\"\nlr = 0.01\n\
         adv_ratio = [0.4, 0.6]\nnote = \"</td><script>alert(1)</script>\"\n\
         [bounds]\nfgsm = [0.05, 0.3]\n"
    )
}

pub fn strips() -> Vec<ImageStrip> {
    let image = |k: usize| -> Vec<u8> {
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
        let clean = image(k);
        let variants = (1..).zip(ATTACKS).map(|(i, attack)| {
            let prediction = if i % 3 == 0 { class } else { "airplane" };
            let pixels = noisy(&clean, i);
            (
                attack.to_string(),
                ClassifiedImage {
                    pixels,
                    prediction: prediction.into(),
                },
            )
        });
        let variants = variants.collect();
        let clean = ClassifiedImage {
            pixels: clean,
            prediction: class.into(),
        };
        ImageStrip {
            caption: format!("test {k}"),
            class: class.into(),
            clean,
            variants,
        }
    };
    vec![strip(17, "frog"), strip(90, "<horse>")]
}

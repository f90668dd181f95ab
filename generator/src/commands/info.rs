//! `generator info`: the description of a store, as text or JSON.

use std::{
    fmt::{self, Display},
    path::PathBuf,
};

use base::{Error, Result, error::printable, log};
use clap::Args;

/// `generator info`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  generator info cifar10.db
  generator info cifar10.db --json")]
pub struct Info {
    /// Path of the store
    db: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Info {
    /// Prints the description.
    pub fn run(self) -> Result<()> {
        let info = store::info(&self.db)?;
        if !self.json {
            return log::result(InfoText(&info));
        }
        let text = serde_json::to_string_pretty(&info)
            .map_err(|reason| Error::invalid(self.db.display(), reason))?;
        log::result(text)
    }
}

/// A description as text: facts, then tables of splits, attacks and success, then warnings. Everything from
/// the file is escaped, for it may hold what would confuse a terminal.
struct InfoText<'a>(&'a store::Info);

impl Display for InfoText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.write_facts(f)?;
        self.write_splits(f)?;
        self.write_attacks(f)?;
        self.write_summary(f)?;
        let meta = &self.0.meta;
        for warning in meta.warnings.iter().chain(&meta.partial()) {
            write!(f, "\nwarning: {}", printable(warning))?;
        }
        Ok(())
    }
}

impl InfoText<'_> {
    fn write_facts(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let store::Info {
            path,
            bytes,
            meta,
            model,
            ..
        } = self.0;
        let spec = &meta.spec;
        let limit = spec.limit.map_or("none".into(), |limit| limit.to_string());
        let state = match (&meta.content_hash, meta.complete) {
            (Some(hash), true) => format!("complete, content hash {hash}"),
            _ => "unfinished: run the same build again to resume it".into(),
        };
        let dataset = format!("{} ({})", spec.dataset, spec.source_hash);
        let created = format!("{} by generator {}", meta.created, spec.generator_version);
        for (what, value) in [
            ("store", path.display().to_string()),
            ("size", format!("{:.1} MB", *bytes as f64 / 1e6)),
            ("state", state),
            ("dataset", dataset),
            ("classes", spec.classes.join(", ")),
            ("preset", spec.preset.clone()),
            ("seed", spec.seed.to_string()),
            ("limit", limit),
            ("shard", spec.shard.clone()),
            ("created", created),
            ("device", meta.device.clone()),
            ("surrogate", format!("{} {}", model.name, model.config)),
            ("", format!("sha256 {}", model.sha256)),
            ("licence", meta.license.clone()),
        ] {
            writeln!(f, "{what:<10} {}", printable(&value))?;
        }
        Ok(())
    }

    fn write_splits(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let [split, images, of, accuracy] = ["split", "images", "of", "clean accuracy"];
        writeln!(f, "\n{split:<6} {images:>8} {of:>8} {accuracy:>15}")?;
        for row in &self.0.splits {
            let accuracy = share(row.clean_accuracy);
            let (split, images, expected) = (&row.split, row.images, row.expected);
            writeln!(f, "{split:<6} {images:>8} {expected:>8} {accuracy:>15}")?;
        }
        Ok(())
    }

    fn write_attacks(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(f, "\n{:<10} parameters", "attack")?;
        for attack in &self.0.attacks {
            let name = printable(&attack.name);
            writeln!(f, "{name:<10} {}", printable(&attack.params))?;
        }
        Ok(())
    }

    fn write_summary(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(
            f,
            "\n{:<6} {:<10} {:>8} {:>9} {:>19} {:>8} {:>9} {:>9}",
            "split",
            "attack",
            "samples",
            "unchanged",
            "surrogate accuracy",
            "success",
            "mean l2",
            "mean linf"
        )?;
        for row in &self.0.summary {
            let (split, attack) = (&row.split, printable(&row.attack));
            let (accuracy, l2, linf) = (row.surrogate_accuracy, row.mean_l2, row.mean_linf);
            let (samples, unchanged) = (row.count, row.unchanged);
            write!(f, "\n{split:<6} {attack:<10} {samples:>8} {unchanged:>9} ")?;
            let success = share(row.success);
            write!(f, "{accuracy:>19.4} {success:>8} {l2:>9.4} {linf:>9.4}")?;
        }
        Ok(())
    }
}

/// A share of images; a dash where there are none.
fn share(share: Option<f64>) -> String {
    share.map_or("-".into(), |share| format!("{share:.4}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use data::Split;
    use store::{AttackRow, BuildSpec, ImageRow, ModelRow, SampleRow, Writer};

    #[test]
    fn info_as_text_has_every_fact_of_unfinished_and_complete_stores() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let classes: Vec<String> = (0..10).map(|class| format!("class{class}")).collect();
        let spec = BuildSpec {
            dataset: "cifar10".into(),
            classes,
            source_hash: "5f".repeat(32),
            seed: 7,
            preset: "paper".into(),
            limit: None,
            shard: "1/1".into(),
            images: [1, 0, 0],
            generator_version: "0.1.0".into(),
            attacks: vec![AttackRow {
                id: 4,
                name: "deepfool".into(),
                params: r#"{"steps":50}"#.into(),
                model_id: 1,
            }],
            model: ModelRow::new("baseline", r#"{"width":64}"#, vec![1, 2, 3]),
        };
        let mut writer = Writer::create_or_resume(&path, &spec, "cpu").unwrap();
        let image = ImageRow {
            id: 0,
            split: Split::Train,
            source_index: 0,
            label: 1,
            pixels: vec![7; data::IMAGE_BYTES].into(),
            clean_pred: 1,
        };
        let sample = SampleRow {
            image_id: 0,
            attack_id: 4,
            pixels: image.pixels.clone(),
            pred: 2,
            pred_float: 2,
            l2: 0.0,
            linf: 0.0,
            steps: 3,
        };
        writer.insert_images(&[image]).unwrap();
        let unfinished = InfoText(&store::info(&path).unwrap()).to_string();
        assert!(
            unfinished.contains("unfinished: run the same build again to resume it"),
            "{unfinished}"
        );
        writer.insert_samples(&[sample]).unwrap();
        let hash = writer.finish().unwrap();
        let text = InfoText(&store::info(&path).unwrap()).to_string();
        for fact in [
            hash.as_str(),
            "paper",
            "cifar10",
            "deepfool",
            "clean accuracy",
            "success",
            "\"width\":64",
            "train  deepfool          1         1              0.0000   1.0000    0.0000    0.0000",
        ] {
            assert!(text.contains(fact), "{fact} in\n{text}");
        }
    }
}

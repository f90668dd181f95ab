//! Output folder of an evaluation: settings, a table for each shard while it runs, and the results.
//!
//! `settings.json`, `parts/KIND-I-of-N.csv`, then `images.csv`, `detector.csv` (with a detector) and `robust.json`.

use std::path::{Path, PathBuf};

use base::{
    Error, Result, files,
    lock::Lock,
    output::{self, Existing, Form, Kind},
};
use store::Shard;

use super::{
    settings::RobustSettings,
    summary::Robustness,
    table::{Keys, RowTable, Rows},
};

/// The settings.
const SETTINGS: &str = "settings.json";
/// Folder of the shards' tables.
const PARTS: &str = "parts";
/// The result.
pub const RESULT: &str = "robust.json";
/// A row for each image and budget.
pub const IMAGES: &str = "images.csv";
/// The same of the adaptive attacks.
pub const DETECTOR: &str = "detector.csv";

const OUTPUT: Kind = Kind {
    name: "an evaluation of robustness",
    form: Form::Folder,
    existing: Existing::Resumed,
    matches: |folder| Ok(folder.join(SETTINGS).is_file()),
};

/// The folder of one evaluation.
pub struct Folder {
    path: PathBuf,
    shard: Shard,
    settings: RobustSettings,
}

impl Folder {
    /// Checks the folder before anything is computed.
    ///
    /// # Errors
    /// [`Error::Usage`] for a folder with other files, or an input.
    pub fn check(path: &Path, inputs: &[&Path], force: bool) -> Result<()> {
        output::check(path, &OUTPUT, inputs, force).map(|_| ())
    }

    /// Begins an evaluation or goes on with one that has the same settings; `force` removes another one.
    ///
    /// # Errors
    /// [`Error::Usage`] when another evaluation is there.
    pub fn enter(path: &Path, settings: RobustSettings, shard: Shard, force: bool) -> Result<Self> {
        let folder = Self {
            path: path.to_path_buf(),
            shard,
            settings,
        };
        let file = path.join(SETTINGS);
        if file.exists() {
            match read_settings(&file) {
                Ok(there) => match folder.settings.difference(&there) {
                    None => {}
                    Some(_) if force => folder.remove()?,
                    Some(name) => {
                        return Err(Error::Usage(format!(
                            "{}: holds another evaluation ({name} differs); name another folder, or add --force",
                            path.display()
                        )));
                    }
                },
                Err(Error::Data { .. }) if force => folder.remove()?,
                Err(error) => return Err(error),
            }
        }
        files::create_folder(&path.join(PARTS))?;
        if !file.exists() {
            files::write_whole(&file, &json(&folder.settings)?)?;
        }
        Ok(folder)
    }

    /// The evaluation's settings.
    pub fn settings(&self) -> &RobustSettings {
        &self.settings
    }

    /// The result, once it is there.
    pub fn result(&self) -> Result<Option<Robustness>> {
        let path = self.path.join(RESULT);
        if !path.exists() {
            return Ok(None);
        }
        Robustness::read(&path).map(Some)
    }

    /// Opens this shard's table of a kind, with a lock on it.
    pub fn table(&self, kind: &str, keys: &Keys, columns: &[String]) -> Result<(Lock, RowTable)> {
        let path = self.part(kind, self.shard);
        Ok((Lock::beside(&path)?, RowTable::open(&path, keys, columns)?))
    }

    /// The rows of all shards of a kind, if every image has its rows.
    pub fn all_rows(&self, kind: &str, keys: &Keys, columns: &[String]) -> Result<Option<Rows>> {
        let mut all = Rows::new();
        for shard in self.shard.all() {
            if let Some(rows) = RowTable::read(&self.part(kind, shard), keys, columns)? {
                all.extend(rows);
            }
        }
        let complete = all.len() == keys.images.len() * keys.budgets.len();
        Ok(complete.then_some(all))
    }

    /// Writes a file of the result.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        files::write_whole(&self.path.join(name), bytes)
    }

    /// Writes the result, the last file.
    pub fn finish(&self, result: &Robustness) -> Result<()> {
        self.write(RESULT, &json(result)?)
    }

    fn part(&self, kind: &str, shard: Shard) -> PathBuf {
        let name = shard.to_string().replace('/', "-of-");
        self.path.join(PARTS).join(format!("{kind}-{name}.csv"))
    }

    /// Removes an earlier evaluation, the result first.
    fn remove(&self) -> Result<()> {
        for name in [RESULT, IMAGES, DETECTOR, PARTS, SETTINGS] {
            files::remove(&self.path.join(name))?;
        }
        Ok(())
    }
}

fn read_settings(path: &Path) -> Result<RobustSettings> {
    let text = files::read_text(path)?;
    serde_json::from_str(&text)
        .map_err(|error| Error::data(path.display(), error, "the settings of an evaluation"))
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|reason| Error::data("evaluation", reason, "numbers that JSON can hold"))?;
    Ok((text + "\n").into_bytes())
}

//! Recipes: TOML files of training settings under the names of a run's `config.toml`, which is one itself. What a
//! recipe does not name keeps its default, and a command line's own values win over it.

use std::path::Path;

use base::{Error, Result, files, log};
use toml::{Table, Value};

use crate::{
    config::{Config, Joint, Sampling},
    methods::Method,
};

/// Settings of a run that a recipe does not decide: its data, and what follows from them.
const OF_THE_RUN: [&str; 11] = [
    "method",
    "data",
    "db",
    "more_db",
    "data_hash",
    "init",
    "limit",
    "version",
    "width",
    "mean",
    "std",
];
/// Settings of [`OF_THE_RUN`] that change what is trained, and are given by options alone.
const GIVEN_BY_OPTIONS: [&str; 5] = ["init", "limit", "width", "mean", "std"];
/// Tables that are merged key by key; other values are replaced whole.
const SECTIONS: [&str; 5] = [
    "optimizer",
    "sampling",
    "joint",
    "perturbation",
    "robust_val",
];

/// A recipe's file.
pub struct Recipe {
    what: String,
    table: Table,
}

impl Recipe {
    /// Reads a recipe; none gives an empty one, which is all defaults.
    ///
    /// # Errors
    /// [`Error::Io`] for a file that cannot be read, [`Error::Data`] for one that is not TOML.
    pub fn read(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else {
            let (what, table) = (String::new(), Table::new());
            return Ok(Self { what, table });
        };
        let what = path.display().to_string();
        let table =
            toml::from_str(&files::read_text(path)?).map_err(|reason: toml::de::Error| {
                // The first line says where.
                let shown = reason.to_string();
                let place = shown.lines().next().unwrap_or_default();
                wrong(&what, &format!("{place}: {}", reason.message()))
            })?;
        Ok(Self { what, table })
    }

    /// The training method that the file names.
    ///
    /// # Errors
    /// [`Error::Data`] for an unknown one.
    pub fn method(&self) -> Result<Option<Method>> {
        let method = self.table.get("method").cloned();
        let method = method.map(Value::try_into).transpose();
        method.map_err(|reason: toml::de::Error| wrong(&self.what, reason.message()))
    }

    /// The settings of a run of `method`: the method's defaults, and over them the file's.
    ///
    /// # Errors
    /// [`Error::Data`] naming a setting that is unknown or out of range.
    pub fn settings(&self, method: Method) -> Result<Config> {
        let defaults = Config::default_of(method);
        // All sections, so that a file's section is checked even where the method has no use for it.
        let whole = Config {
            sampling: Some(Sampling::default()),
            joint: Some(Joint::default()),
            perturbation: Some(method.perturbation_or_default()),
            robust_val: Some(method.robust_val_or_default()),
            ..defaults.clone()
        };
        let mut settings = Table::try_from(&whole).map_err(|reason| {
            Error::Usage(format!("settings cannot be written as TOML: {reason}"))
        })?;
        for (key, value) in &self.table {
            if OF_THE_RUN.contains(&key.as_str()) {
                continue;
            }
            match (settings.get_mut(key), value) {
                (Some(Value::Table(section)), Value::Table(values))
                    if SECTIONS.contains(&key.as_str()) =>
                {
                    section.extend(values.clone());
                }
                _ => {
                    settings.insert(key.clone(), value.clone());
                }
            }
        }
        let eps = |section: &str| self.table.get(section)?.get("eps").cloned();
        if let (Some(eps), None, Some(Value::Table(section))) = (
            eps("perturbation"),
            eps("robust_val"),
            settings.get_mut("robust_val"),
        ) {
            section.insert("eps".into(), eps);
        }
        let read: Config = settings
            .try_into()
            .map_err(|reason: toml::de::Error| wrong(&self.what, reason.message()))?;
        let asks_robust_val = self.table.contains_key("robust_val");
        let config = Config {
            sampling: read.sampling.filter(|_| defaults.sampling.is_some()),
            joint: read.joint.filter(|_| defaults.joint.is_some()),
            perturbation: (read.perturbation)
                .zip(defaults.perturbation)
                .map(|(read, defaults)| read.without_unused(&defaults)),
            robust_val: (read.robust_val)
                .filter(|_| defaults.robust_val.is_some() || asks_robust_val),
            ..read
        };
        if !self.what.is_empty() {
            config
                .check()
                .map_err(|reason| wrong(&self.what, &reason.to_string()))?;
        }
        Ok(config)
    }

    /// Warns of settings in the file that the run does not have, since only options set them.
    pub fn warn_of_other_settings(&self, config: &Config) {
        for (key, [in_file, here]) in self.other_settings(config) {
            log::warning(format_args!(
                "{}: its {key}, {in_file}, is not taken from a recipe; this run has {here}",
                self.what
            ));
        }
    }

    fn other_settings(&self, config: &Config) -> Vec<(&'static str, [String; 2])> {
        let here = Table::try_from(config).unwrap_or_default();
        let text = |value: Option<&Value>| value.map_or("none".into(), Value::to_string);
        let values = |key| [&self.table, &here].map(|table| table.get(key));
        (GIVEN_BY_OPTIONS.into_iter())
            .map(|key| (key, values(key)))
            .filter(|(_, [in_file, here])| in_file.is_some() && in_file != here)
            .map(|(key, values)| (key, values.map(text)))
            .collect()
    }
}

fn wrong(what: &str, found: &str) -> Error {
    let lines: Vec<&str> = found.lines().map(str::trim).collect();
    let expected = "settings of a training, as in a run's config.toml";
    Error::data(what, lines.join(" "), expected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Select, methods::METHODS};

    fn recipe(text: &str) -> Recipe {
        Recipe {
            what: "recipe".into(),
            table: toml::from_str(text).unwrap(),
        }
    }

    fn method(name: &str) -> Method {
        Method::find(name).unwrap()
    }

    #[test]
    fn the_recipes_of_the_repository_fit_every_method() {
        for text in [
            include_str!("../../recipes/paper.toml"),
            include_str!("../../recipes/strong.toml"),
        ] {
            for entry in METHODS {
                recipe(text).settings(method(entry.name)).unwrap();
            }
        }
        let paper = recipe(include_str!("../../recipes/paper.toml"));
        // Methods that attack have another augmentation of their own.
        for entry in METHODS.iter().filter(|entry| entry.perturbation.is_none()) {
            let method = method(entry.name);
            assert_eq!(paper.settings(method).unwrap(), Config::default_of(method));
        }
    }

    #[test]
    fn a_recipe_replaces_single_settings_and_keeps_other_defaults() {
        let text = "select = 'clean'\n[optimizer]\nlr = 0.1\n[joint]\nbeta = 2.0";
        let read = recipe(text).settings(method("joint")).unwrap();
        let default = Config::default_of(method("joint"));
        assert_eq!((read.optimizer.lr, read.select), (0.1, Select::Clean));
        assert_eq!(read.optimizer.momentum, default.optimizer.momentum);
        assert_eq!(read.joint.unwrap().beta, 2.0);
        let without = recipe(text).settings(method("adversarial")).unwrap();
        assert_eq!(without.joint, None);
    }

    #[test]
    fn a_runs_config_is_a_recipe() {
        for entry in METHODS {
            let mut config = Config::default_of(method(entry.name));
            config.epochs = 7;
            config.db = Some("a.db".into());
            let read = recipe(&toml::to_string(&config).unwrap());
            assert_eq!(read.method().unwrap(), Some(config.method));
            let settings = read.settings(config.method).unwrap();
            assert_eq!((settings.epochs, settings.db), (7, None));
        }
    }

    #[test]
    fn the_eps_of_a_recipes_perturbation_is_that_of_the_attack_on_val_too() {
        let text = "[perturbation]\neps = '4/255'";
        let settings = |text: &str| recipe(text).settings(method("pgd-at")).unwrap();
        let eps = |text| settings(text).robust_val.unwrap().eps.to_string();
        assert_eq!(eps(text), "4/255");
        assert_eq!(
            eps(&format!("{text}\n[robust_val]\neps = '2/255'")),
            "2/255"
        );
    }

    #[test]
    fn a_recipes_settings_of_another_methods_attack_are_left_out() {
        let both = "[perturbation]\nbeta = 3.0\nreset = 4";
        for (name, beta, reset) in [
            ("trades", Some(3.0), None),
            ("atta", None, Some(4)),
            ("pgd-at", None, None),
        ] {
            let read = recipe(both).settings(method(name)).unwrap();
            let read = read.perturbation.unwrap();
            assert_eq!((read.beta, read.reset), (beta, reset), "{name}");
        }
    }

    #[test]
    fn settings_of_a_recipe_that_only_options_set_are_told_where_they_differ() {
        let file = recipe("width = 8\nlimit = 100\ndata_hash = 'other'\nmean = '0 0 0'");
        let mut config = Config::default_of(method("pretrain"));
        (config.width, config.limit) = (64, Some(100));
        let pair = |found: &str, here: &str| [found.to_string(), here.to_string()];
        let expected = [
            ("width", pair("8", "64")),
            ("mean", pair("\"0 0 0\"", "none")),
        ];
        assert_eq!(file.other_settings(&config), expected);
    }

    #[test]
    fn unknown_and_impossible_settings_of_a_recipe_are_refused_by_name() {
        for (text, word) in [
            ("epoch = 3", "epoch"),
            ("[optimizer]\nrate = 3", "rate"),
            ("[joint]\nlayers = 3", "layers"),
            ("epochs = 0", "epochs"),
            ("[optimizer]\nlr = -1.0", "optimizer.lr"),
            ("[optimizer]\nema = 1.0", "optimizer.ema"),
            ("[sampling]\nredraw_every = 0", "sampling.redraw_every"),
            ("augment = {crop = {pad = 33}, flip = true}", "augment.crop"),
            (
                "augment = {crop = {resized = {scale = [nan, 1.0], ratio = [1.0, 1.0]}}, flip = true}",
                "scale",
            ),
            (
                "augment = {crop = {resized = {scale = [0.9, 0.1], ratio = [1.0, 1.0]}}, flip = true}",
                "scale",
            ),
            (
                "augment = {crop = {resized = {scale = [0.5, 5.0], ratio = [1.0, 1.0]}}, flip = true}",
                "scale",
            ),
            (
                "augment = {crop = {resized = {scale = [0.5, 1.0], ratio = [0.0, 1.0]}}, flip = true}",
                "ratio",
            ),
            ("method = 'no'", "no"),
        ] {
            let read = recipe(text);
            let error = read.method().and_then(|_| read.settings(method("joint")));
            let error = error.unwrap_err();
            assert_eq!(error.exit_code(), 3, "{error}");
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}

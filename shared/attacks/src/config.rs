//! Attack parameters from TOML: a preset, overlaid by a file that sets single parameters.

use std::path::Path;

use toml::{Table, Value};

use super::{AttackConfig, AttackKind, Preset, params::OutOfRange, preset::Parameters};
use base::{Error, Result, files};

impl AttackConfig {
    /// A preset, changed by a TOML file (`--attacks-config`) where there is one.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read, and what [`AttackConfig::overlay`] refuses.
    pub fn load(preset: Preset, file: Option<&Path>) -> Result<Self> {
        let config = Self::preset(preset);
        let Some(file) = file else {
            return Ok(config);
        };
        let text = files::read_text(file)?;
        config.overlay(&text, &file.display().to_string())
    }

    /// Sets what `text` sets: TOML with a table for each attack to change, which holds any of
    /// its parameters. `file` names the text in errors.
    ///
    /// # Errors
    /// [`Error::Data`] for an unknown attack or parameter, a wrong type or a value out of range.
    pub fn overlay(mut self, text: &str, file: &str) -> Result<Self> {
        let tables: Table = text.parse().map_err(|error: toml::de::Error| {
            // The first line says where, the message what; between them the text is quoted.
            let shown = error.to_string();
            let place = shown.lines().next().unwrap_or_default();
            Error::data(
                file,
                format!("{place}: {}", one_line(error.message())),
                "TOML",
            )
        })?;
        for (name, changes) in &tables {
            let kind: AttackKind = name.parse().map_err(|_| {
                let names = AttackKind::ALL.map(AttackKind::name).join(", ");
                Error::data(file, format!("[{name}]"), format!("one of {names}"))
            })?;
            let Value::Table(changes) = changes else {
                let expected = format!("a table, [{name}]");
                return Err(Error::data(file, format!("{name} = {changes}"), expected));
            };
            self.set(kind, changes, file)?;
        }
        Ok(self)
    }

    /// All resolved parameters as TOML, which [`AttackConfig::overlay`] reads back.
    ///
    /// # Errors
    /// [`Error::Data`] for a parameter that TOML cannot represent; no checked one is such.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|error| {
            Error::data("attack parameters", error, "values that TOML can represent")
        })
    }
}

/// The lines of `text`, trimmed, on one line.
fn one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join(", ")
}

/// The type that serde's message expected, in words.
fn expected(message: &str) -> String {
    let message = one_line(message);
    match message
        .rsplit_once("expected ")
        .map(|(_, expected)| expected)
    {
        Some("f64") => "a number".into(),
        Some("u32") => "a whole number, 0 or more".into(),
        Some(expected) => expected.into(),
        None => message,
    }
}

/// `parameters` with `changes` on top.
pub(super) fn changed<P: Parameters>(
    parameters: &P,
    kind: AttackKind,
    changes: &Table,
    file: &str,
) -> Result<P> {
    let refused =
        |error: toml::ser::Error| Error::data(file, error, "parameters that TOML can represent");
    let mut table = Table::try_from(parameters).map_err(refused)?;
    let mut parameters = parameters.clone();
    for (name, value) in changes {
        let what = format!("{file}: [{kind}]");
        let is_optional = |name: &String| P::OPTIONAL.contains(&name.as_str());
        if !table.contains_key(name) && !is_optional(name) {
            let mut names: Vec<&str> = table.keys().map(String::as_str).collect();
            names.extend(P::OPTIONAL);
            names.sort_unstable();
            names.dedup();
            return Err(Error::data(
                what,
                name,
                format!("one of {}", names.join(", ")),
            ));
        }
        table.insert(name.clone(), value.clone());
        // One at a time, so that the error names the parameter.
        parameters = table.clone().try_into().map_err(|error: toml::de::Error| {
            Error::data(format!("{what} {name}"), value, expected(error.message()))
        })?;
    }
    parameters.check().map_err(|refused| {
        let OutOfRange {
            parameter,
            found,
            expected,
        } = refused;
        Error::data(format!("{file}: [{kind}] {parameter}"), found, expected)
    })?;
    Ok(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_survive_a_round_trip_through_toml() {
        for preset in Preset::ALL {
            assert_eq!(preset.name().parse(), Ok(preset));
            let config = AttackConfig::preset(preset);
            let text = config.to_toml().unwrap();
            let other = AttackConfig::preset(Preset::Paper);
            assert_eq!(other.overlay(&text, "F.toml").unwrap(), config);
        }
    }

    #[test]
    fn an_overlay_changes_the_parameters_it_names_and_no_others() {
        let text = "[bim]\nsteps = 3\neps = 1\n[cw]\nspace = \"pixel\"\n";
        let standard = AttackConfig::preset(Preset::Standard);
        let config = standard.clone().overlay(text, "F.toml").unwrap();
        let mut expected = standard;
        (expected.bim.steps, expected.bim.eps) = (3, 1.0);
        expected.cw.space = crate::cw::Space::Pixel;
        assert_eq!(config, expected);
        assert_eq!(
            config.params_json(AttackKind::Bim),
            "{\"eps\":1.0,\"step\":0.00784313725490196,\"steps\":3,\
             \"channel_scale\":[1.0,1.0,1.0],\"first_step\":0.0}"
        );
        assert_eq!(config.params_json(AttackKind::Gaussian), "{\"std\":0.1}");
    }

    #[test]
    fn the_objective_of_cw_can_be_set_and_is_kept_in_a_store_only_where_it_is_the_margin() {
        let json = |config: &AttackConfig| config.params_json(AttackKind::Cw);
        let paper = AttackConfig::preset(Preset::Paper);
        let margin = paper
            .clone()
            .overlay("[cw]\nobjective = \"margin\"", "F.toml")
            .unwrap();
        assert_eq!(margin, AttackConfig::preset(Preset::Published));
        assert!(!json(&paper).contains("objective"));
        assert!(json(&margin).contains("\"objective\":\"margin\""));
        let error = paper.overlay("[cw]\nobjectiv = 1", "F.toml").unwrap_err();
        assert!(
            error.to_string().contains("lr, objective, on_failure"),
            "{error}"
        );
    }

    #[test]
    fn refused_parameters_name_the_file_the_value_and_the_choices() {
        let cases = [
            (
                "[no-such-attack]\nsteps = 3",
                "F.toml: found [no-such-attack], expected one of gaussian, fgsm, bim",
            ),
            (
                "fgsm = 3",
                "F.toml: found fgsm = 3, expected a table, [fgsm]",
            ),
            (
                "[fgsm]\neps = 3",
                "F.toml: [fgsm]: found eps, expected one of channel_scale, step",
            ),
            (
                "[fgsm]\nstep = \"big\"",
                "F.toml: [fgsm] step: found \"big\", expected a number",
            ),
            (
                "[bim]\nsteps = -1",
                "F.toml: [bim] steps: found -1, expected a whole number",
            ),
            (
                "[bim]\nsteps = 0",
                "F.toml: [bim] steps: found 0, expected a whole number",
            ),
            (
                "[fgsm]\nstep = nan",
                "F.toml: [fgsm] step: found NaN, expected a number from 0 to 1",
            ),
            ("[nst]\nlr = inf", "F.toml: [nst] lr: found inf"),
            (
                "[gaussian]\nstd = -0.1",
                "F.toml: [gaussian] std: found -0.1",
            ),
            (
                "[bim]\nchannel_scale = [1, 0, 1]",
                "F.toml: [bim] channel_scale: found 0",
            ),
            (
                "[bim]\nchannel_scale = [1, 1]",
                "F.toml: [bim] channel_scale: found [1, 1]",
            ),
            (
                "[cw]\nspace = \"cube\"",
                "F.toml: [cw] space: found \"cube\"",
            ),
            (
                "[cw",
                "F.toml: found TOML parse error at line 1, column 4: unclosed table",
            ),
        ];
        for (text, expected) in cases {
            let config = AttackConfig::preset(Preset::Standard);
            let error = config.overlay(text, "F.toml").unwrap_err();
            assert_eq!(error.exit_code(), 3, "{text}");
            assert!(error.to_string().starts_with(expected), "{text}: {error}");
            assert_eq!(error.to_string().lines().count(), 1, "{error}");
        }
        let missing = AttackConfig::load(Preset::Paper, Some(Path::new("no/such.toml")));
        assert_eq!(missing.unwrap_err().exit_code(), 3);
    }
}

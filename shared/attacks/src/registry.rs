//! Attack registry: the macro that makes [`AttackKind`](crate::AttackKind) and
//! [`AttackConfig`](crate::AttackConfig) of the table in `lib.rs`, which has one row per attack.

/// A row is `id, Kind, name, "Label", in_paper, Parameters;`.
///
/// - `id` is the store's `attack.id`. It enters content hashes, so it never changes and is never
///   given to another attack.
/// - `name` is the name on command lines, in TOML and in the store's `attack.name`: the kind in
///   lower case.
/// - `"Label"` is the name in reports.
/// - `in_paper`: one of the paper's six, which `--attacks all` builds.
/// - `Parameters` implements [`Attack`](crate::Attack) and `Parameters`: everything else about
///   the attack is in that file.
macro_rules! attacks {
    ($($id:literal, $kind:ident, $name:ident, $label:literal, $in_paper:literal, $parameters:ty;)*) => {
        /// The attacks, one for each row of the registry.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        #[repr(u8)]
        pub enum AttackKind {
            $(
                #[doc = concat!("[`", stringify!($parameters), "`].")]
                $kind = $id,
            )*
        }

        impl AttackKind {
            /// All attacks, in the order of their ids.
            pub const ALL: [Self; [$($id),*].len()] = [$(Self::$kind),*];

            /// The name on command lines, in TOML and in the store's `attack.name`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => stringify!($name),)* }
            }

            /// The name in reports.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$kind => $label,)* }
            }

            /// Whether it is one of the paper's six, which a store has unless others are named.
            pub const fn in_paper(self) -> bool {
                match self { $(Self::$kind => $in_paper,)* }
            }

            /// How it behaves.
            pub const fn traits(self) -> AttackTraits {
                match self { $(Self::$kind => <$parameters as Parameters>::TRAITS,)* }
            }
        }

        /// The resolved parameters of all attacks.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct AttackConfig {
            $(
                #[doc = concat!("Parameters of ", $label, ".")]
                pub $name: $parameters,
            )*
        }

        impl AttackConfig {
            /// The parameters of a preset.
            pub fn preset(preset: Preset) -> Self {
                Self { $($name: <$parameters as Parameters>::preset(preset),)* }
            }

            /// The attack with its parameters.
            pub fn build(&self, kind: AttackKind) -> Box<dyn Attack> {
                match kind { $(AttackKind::$kind => Box::new(self.$name.clone()),)* }
            }

            /// The resolved parameters as one line of JSON, in a fixed order: the store's
            /// `attack.params`.
            pub fn params_json(&self, kind: AttackKind) -> String {
                match kind {
                    $(AttackKind::$kind => serde_json::json!(self.$name).to_string(),)*
                }
            }

            /// Sets the parameters of one attack that `changes` names; `file` is for errors.
            fn set(&mut self, kind: AttackKind, changes: &toml::Table, file: &str) -> Result<()> {
                match kind {
                    $(AttackKind::$kind => {
                        self.$name = config::changed(&self.$name, kind, changes, file)?;
                    })*
                }
                Ok(())
            }
        }
    };
}

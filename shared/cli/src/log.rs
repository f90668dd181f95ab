//! Options for the log: `--quiet` and `--log-format`.

use base::log::Settings;

/// What standard error gets.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct LogArguments {
    /// Say nothing but warnings and errors
    #[arg(long, global = true)]
    quiet: bool,
    /// What standard error gets: lines for people, or one JSON object a line
    #[arg(long, global = true, value_enum, default_value_t, value_name = "F")]
    log_format: Format,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    #[default]
    Text,
    Json,
}

impl LogArguments {
    /// Applies them to the whole program.
    pub fn apply(self) {
        Settings {
            quiet: self.quiet,
            json: self.log_format == Format::Json,
        }
        .apply();
    }
}

//! Options for the log: `--quiet` and `--log-format`.

use base::log::Settings;

/// Log options.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct LogArguments {
    /// Log only warnings and errors
    #[arg(long, global = true)]
    quiet: bool,
    /// Format of standard error: text, or one JSON object per line
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

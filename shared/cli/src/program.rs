//! Start and end of both programs: threads and allocator set up, errors as one line and an exit code.

use std::process::ExitCode;

use clap::{Command, error::ErrorKind};

use base::{Error, Result, log};

/// The exit codes, as `--help` lists them.
pub const EXIT_CODES: &str = "Exit codes: 0 done, 1 I/O or device failure (a full disk, say), 2 usage, \
3 missing, bad or corrupt input, 4 no such device, 5 non-finite values, 75 interrupted (the same command \
resumes).";

/// Runs a program's command. To be called first in `main`.
pub fn run(command: impl FnOnce() -> Result<()>) -> ExitCode {
    disable_candle_thread_pool();
    disable_purge();
    use_main_thread_in_rayon();
    let outcome = command();
    log::summary();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

/// Reads the command line. Help and version are printed and end the program.
///
/// # Errors
/// [`Error::Usage`] on one line, unlike clap's own.
pub fn parse<C: clap::Parser>() -> Result<C> {
    let matches = taking_negative_numbers(C::command()).try_get_matches();
    let parsed = matches.and_then(|mut matches| C::from_arg_matches_mut(&mut matches));
    parsed.map_err(|error| {
        if !error.use_stderr()
            || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
        {
            error.exit();
        }
        let text = error.render().to_string();
        let lines = text.lines().map(str::trim);
        let text =
            lines.filter(|line| !line.is_empty() && !line.starts_with("For more information"));
        let text = text.collect::<Vec<_>>().join(" ");
        Error::Usage(format!(
            "{}; --help says more",
            text.trim_start_matches("error: ")
        ))
    })
}

/// Reads `--lr -1` as a value of `--lr`, whose own error says what is expected, and not as an option `-1`.
fn taking_negative_numbers(command: Command) -> Command {
    let command = command.mut_args(|argument| {
        let takes_values = argument.get_action().takes_values();
        argument.allow_negative_numbers(takes_values)
    });
    command.mut_subcommands(taking_negative_numbers)
}

/// Runs candle's own element-wise operations on the calling thread. Its thread pool waits by spinning,
/// which takes the processor from the kernels' rayon threads: training is three times slower with it on
/// two busy cores. Matrix products stay parallel, they use rayon.
fn disable_candle_thread_pool() {
    const THREADS: &str = "CANDLE_NUM_THREADS";
    if std::env::var_os(THREADS).is_none() {
        #[expect(unsafe_code, reason = "the environment can be set in no other way")]
        // SAFETY: nothing else has started yet: no other thread reads or writes the environment.
        unsafe {
            std::env::set_var(THREADS, "1")
        };
    }
}

/// Makes the calling thread one of rayon's. As a separate thread it would sleep and be woken at every
/// operation, which takes longer than small operations themselves.
fn use_main_thread_in_rayon() {
    let pool = rayon::ThreadPoolBuilder::new().use_current_thread();
    // Fails if there is a pool already, which gives the same results.
    let _ = pool.build_global();
}

/// Keeps freed memory for the next step: returned to the system, its pages would be cleared before they
/// are handed out again.
fn disable_purge() {
    /// `mi_option_purge_delay` of mimalloc.h, which the bindings leave out.
    const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
    const NEVER: std::ffi::c_long = -1;
    #[expect(unsafe_code, reason = "the bindings have no safe call")]
    // SAFETY: the call sets a number in the allocator; any time is right for it.
    unsafe {
        libmimalloc_sys::mi_option_set(PURGE_DELAY, NEVER)
    };
}
